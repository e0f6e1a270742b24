"""A thread that ends the pod when training stands still, with a diagnosis."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from brightrun.errors import TrainerError
from trainer import guards

POLL_SECONDS = 5.0
REMEMBERED = 50


class StallWatch:
    """Told of every sign of life; `end(error)` is called once and must not return.

    stage and limit are for the words of the error and for tests.
    """

    def __init__(
        self, end: Callable[[TrainerError], None], stage: str = "training",
        poll: float = POLL_SECONDS, limit: Callable[[list[float]], float] | None = None,
    ) -> None:  # fmt: skip
        self.end = end
        self.stage = stage
        self.poll = poll
        self.limit = limit or guards.stall_seconds
        self.step = 0
        self.seconds: deque[float] = deque(maxlen=REMEMBERED)
        self.silence = 0.0
        self._over = threading.Event()

    def alive(self) -> None:
        """Something was done: a micro-step, a validated conversation, a save."""
        self.silence = 0.0

    def stepped(self, step: int, seconds: float) -> None:
        """An optimizer step was done."""
        self.step = step
        self.seconds.append(seconds)
        self.alive()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Around the training, in the thread that trains."""
        self.alive()
        trained = threading.get_ident()
        thread = threading.Thread(target=self._watch, args=(trained,), name="stall", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()

    def _watch(self, trained: int) -> None:
        looked = time.monotonic()
        while not self._over.wait(self.poll):
            now = time.monotonic()
            # A process that was frozen as a whole (SIGSTOP, a laptop's lid) is not to blame.
            self.silence += min(now - looked, 2 * self.poll)
            looked = now
            limit = self.limit(list(self.seconds))
            if self.silence > limit:
                place = _where(trained)
                self.end(guards.stalled(self.silence, limit, self.stage, self.step, place))
                return


def _where(thread: int) -> str:
    """Innermost function of a thread; its whole stack goes into the log."""
    frame = sys._current_frames().get(thread)
    stack = traceback.extract_stack(frame) if frame else []
    print("".join(traceback.format_list(stack)), file=sys.stderr, flush=True)
    last = stack[-1] if stack else None
    return f"{last.name} ({Path(last.filename).name}:{last.lineno})" if last else "no function"
