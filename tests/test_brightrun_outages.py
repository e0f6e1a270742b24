from __future__ import annotations

import pytest
from fakes.clock import ManualClock
from faulty_storage import raised

from brightrun.errors import StorageError
from brightrun.outages import waited_out


def test_the_patience_begins_with_the_first_failure_not_with_the_work() -> None:
    """Ending a pod may take ten minutes by itself; a storage that is away then is waited for."""
    clock, failures = ManualClock(), [raised("unreachable")] * 3

    def work() -> str:
        clock.sleep(700)
        if failures:
            raise failures.pop()
        return "done"

    with pytest.raises(StorageError, match="run folder"):
        waited_out(clock, work)  # it goes on failing 700 s after its first failure
    failures[:] = [raised("unreachable")]
    assert waited_out(clock, work) == "done"
