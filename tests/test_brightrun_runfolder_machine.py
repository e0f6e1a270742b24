"""A pod writes events through failing storage, a reader looks at any moment: none lost, none twice.

Segments may be written though the storage says they were not, be seen late and out of order, or be
torn; the reader may die between reading and committing.
"""

from __future__ import annotations

import tempfile
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brightrun.errors import StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.runfolder import EventWriter, RunFolder
from brightrun.settings import Settings

_numbers = count()


@cache
def home() -> tuple[Ledger, tempfile.TemporaryDirectory[str]]:
    """One for all examples; each has a job of its own."""
    folder = tempfile.TemporaryDirectory(prefix="brightrun-events-")
    return Ledger.open(Settings(home=Path(folder.name), DATABASE_URL=None)), folder


class Storage(RunFolder):
    """The pod's side of a storage that fails in the way it is told to, once."""

    trouble = ""

    def write_bytes(self, relative: str, data: bytes) -> None:
        trouble, self.trouble = self.trouble, ""
        if trouble == "refused":
            raise StorageError("503")
        if trouble == "torn":
            super().write_bytes(relative, data[: max(1, len(data) // 2)])
            raise StorageError("reset by peer")
        super().write_bytes(relative, data)
        if trouble == "answer lost":
            raise StorageError("timed out")


class Events(RuleBasedStateMachine):
    """Hidden segments are there, but no reader sees them yet."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, folder = home()
        self.job = f"job-{next(_numbers)}"
        self.ledger.create_job(self.job, JobRequest(training_file="sample"))
        url = Path(folder.name).as_uri()
        self.storage, self.folder = Storage(url, self.job), RunFolder(url, self.job)
        self.writer = EventWriter(self.storage, 1)
        self.folder.write_json("spec.json", {})

    @rule(
        number=st.integers(1, 4),
        trouble=st.sampled_from(["", "late", "refused", "answer lost", "torn"]),
    )
    def pod_writes(self, number: int, trouble: str) -> None:
        for _ in range(number):
            step = self.writer.seq + 1
            self.writer.add("metric", {"step": step, "loss": 1.0})
        self.storage.trouble = "" if trouble == "late" else trouble
        try:
            self.writer.flush()
        except StorageError:
            assert self.writer.pending
        if trouble == "late":
            self.hide(self.segments("events-*.jsonl")[-1])

    @property
    def place(self) -> Path:
        return self.folder.local_path("attempts/1")

    def segments(self, pattern: str) -> list[Path]:
        return sorted(self.place.glob(pattern)) if self.place.exists() else []

    def hide(self, segment: Path) -> None:
        segment.replace(segment.with_name(f".late-{segment.name}"))

    @precondition(lambda self: self.segments(".late-*"))
    @rule(data=st.data())
    def a_late_segment_appears(self, data: st.DataObject) -> None:
        self.appear(data.draw(st.sampled_from(self.segments(".late-*"))))

    def appear(self, hidden: Path) -> None:
        shown = hidden.with_name(hidden.name.removeprefix(".late-"))
        hidden.unlink() if shown.exists() else hidden.rename(shown)

    @rule(dies_after=st.none() | st.integers(0, 4))
    def reader_looks(self, dies_after: int | None) -> None:
        after = self.ledger.last_seq(self.job, 1)
        events = list(self.folder.events(1, after))
        self.ledger.ingest(self.job, events if dies_after is None else events[:dies_after])

    @invariant()
    def nothing_is_taken_in_twice_or_out_of_nowhere(self) -> None:
        seqs = [event.seq for event in self.ledger.events(self.job, 1)]
        assert len(seqs) == len(set(seqs))
        assert all(1 <= seq <= self.writer.seq for seq in seqs)
        assert [row.step for row in self.ledger.metrics(self.job)] == sorted(seqs)

    def teardown(self) -> None:
        """The storage is well again: everything that the pod said is there, once, in order."""
        self.storage.trouble = ""
        self.writer.flush()
        for hidden in self.segments(".late-*"):
            self.appear(hidden)
        self.reader_looks(dies_after=None)
        events: list[Any] = sorted(self.ledger.events(self.job, 1), key=lambda event: event.seq)
        assert [event.seq for event in events] == list(range(1, self.writer.seq + 1))
        assert [event.payload["step"] for event in events] == [event.seq for event in events]


TestEvents = Events.TestCase
TestEvents.settings = settings(max_examples=7, stateful_step_count=15, deadline=None)


@pytest.mark.slow
class TestEventsLonger(Events.TestCase):
    settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
