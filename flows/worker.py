"""The process worker of `make ui` or a station. It and its runs never outlive who started it.

Every process of one `make ui` carries its mark in the environment, so that all of them are found
again, also the runs of a worker that was killed. (Pods do not inherit it: they live by the lease.)
Started by `make ui` and by `python -m flows.station`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

import psutil

from brightrun.settings import CHECKOUT, load
from flows import blocks

POOL = "brightrun-local"
CARE = "care"
MARK = "BRIGHTRUN_UI"
PARENT = "BRIGHTRUN_PARENT"
HANDS_OVER = "BRIGHTRUN_HANDS_OVER"
RUN_SECONDS = 20.0
WORKER_SECONDS = 10.0


def start(mark: str, queue: str = "", *, hands_over: bool = False) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own: Ctrl-C is the parent's to handle.

    queue: the only one that it looks at; "" = all. hands_over: when the parent is gone its runs are
    dropped, for another worker to go on with.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "flows.worker", queue],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={
            **os.environ,
            MARK: mark,
            PARENT: str(os.getpid()),
            HANDS_OVER: "1" if hands_over else "",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_WORKER_PREFETCH_SECONDS": "2",
        },
    )


def marked(mark: str) -> list[psutil.Process]:
    """Worker and runs of one `make ui`; never the asking process."""
    every = (p for p in psutil.process_iter() if p.pid != os.getpid())
    return [process for process in every if environment_of(process).get(MARK) == mark]


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Its environment; a worker's names who started it (PARENT), and its runs' does not."""
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}  # gone meanwhile, or somebody else's


def stop(mark: str) -> None:
    """Runs first: they release their pods and say how they ended. Then the workers."""
    end((p for p in marked(mark) if PARENT not in environment_of(p)), RUN_SECONDS)
    end(marked(mark), WORKER_SECONDS)
    end(marked(mark), 1.0)


def drop(mark: str) -> None:
    """Everything at once and without a word, as when the machine is gone: jobs end nowhere."""
    while left := marked(mark):
        for process in left:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)


def end(processes: Iterable[psutil.Process], seconds: float) -> None:
    """SIGTERM, some patience, SIGKILL."""
    asked = list(processes)
    for process in asked:
        _signal(process, signal.SIGTERM)
    _, left = psutil.wait_procs(asked, timeout=seconds)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _die_with(parent: int, mark: str) -> None:
    """Also after a SIGKILL of the parent nothing goes on unsupervised."""
    while os.getppid() == parent:
        time.sleep(1)
    if os.environ.get(HANDS_OVER):
        for process in marked(mark):
            _signal(process, signal.SIGKILL)
        os._exit(1)
    stop(mark)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(WORKER_SECONDS)
    os._exit(1)


def main() -> None:
    """Work until the parent is gone."""
    # A shell starts background jobs with SIGINT ignored; Prefect ends its worker by that signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if parent := os.environ.pop(PARENT, ""):
        mark = os.environ[MARK]
        threading.Thread(target=_die_with, args=(int(parent), mark), daemon=True).start()
    settings, queue = load(), "".join(sys.argv[1:])
    os.environ.update(blocks.environment(settings))
    sys.argv = ["prefect", "worker", "start", "--pool", settings.pool]
    sys.argv += ["--limit", str(settings.worker_runs)]
    sys.argv += ["--work-queue", queue] if queue else []
    from prefect.cli import app

    app()


if __name__ == "__main__":
    main()
