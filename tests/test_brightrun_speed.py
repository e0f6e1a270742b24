"""How fast this machine multiplies, against the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from brightrun import speed


def test_the_share_is_of_as_many_threads_of_the_reference_machine() -> None:
    assert speed.share(speed.REFERENCE, 1) == 1.0
    assert speed.share(speed.REFERENCE, 2) == 0.5
    assert speed.share(0.0, 2) == 0.01  # an estimate is never infinite


def test_a_machine_is_measured_in_a_process_of_its_own() -> None:
    speed.measured.cache_clear()
    found = speed.measured(1)
    assert 0.01 <= found < 20
    assert speed.measured(1) == found


def test_a_machine_that_cannot_be_measured_counts_as_the_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Python finds no standard library there: the process really fails.
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    speed.measured.cache_clear()
    assert speed.measured(1) == 1.0
    speed.measured.cache_clear()
