"""A claim is renewed beside whatever its driver is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable

from brightrun.pulse import beating


def counted(beats: list[int], enough: threading.Event) -> Callable[[], None]:
    def renew() -> None:
        beats.append(len(beats))
        if len(beats) >= 3:
            enough.set()
        raise OSError("the ledger is away")

    return renew


def test_a_claim_is_renewed_while_its_driver_does_something_else() -> None:
    beats, enough = list[int](), threading.Event()
    with beating(counted(beats, enough), seconds=0.001):
        assert enough.wait(30)
    after = len(beats)
    assert not [t for t in threading.enumerate() if t.name == "pulse"]
    assert len(beats) == after >= 3
