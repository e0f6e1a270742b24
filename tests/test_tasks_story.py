"""The log lines of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tasks import story
from tasks.board import pod_sentence


@dataclass(frozen=True)
class Event:
    type: str
    payload: dict[str, Any]
    attempt: int = 2


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            Event("stage", {"name": "training", "status": "started", "expected_s": 21.4}),
            "Pod 2: training started, about 21 s",
        ),
        (
            Event(
                "stage",
                {
                    "name": "preprocessing", "status": "finished", "elapsed_s": 3.0,
                    "detail": {"sequences": 21, "reasons": ["a", "b"]},
                },
            ),
            "Pod 2: preprocessing finished after 3.0 s (sequences 21, reasons a; b)",
        ),
        (
            Event("stage", {"name": "training", "status": "skipped", "detail": "already done"}),
            "Pod 2: training skipped (already done)",
        ),
        (
            Event("checkpoint", {"step": 4, "bytes": 3_600_000, "seconds": 0.1}),
            "Pod 2: checkpoint at step 4 (3.6 MB)",
        ),
        (
            Event("warning", {"message": "memory is low", "fix": "close a program"}),
            "Pod 2: memory is low. close a program",
        ),
        (
            Event("warning", {"message": "damaged", "fix": "", "fault": "damaged_checkpoint"}),
            "Pod 2: damaged. See docs/errors.md#damaged-checkpoint",
        ),
    ],
)  # fmt: skip
def test_an_event_becomes_a_sentence(event: Event, expected: str) -> None:
    line = story.sentence(event)
    assert line is not None
    assert line[1] == expected


def test_warnings_and_errors_keep_their_weight() -> None:
    levels = [story.sentence(Event(kind, {"message": "x"})) for kind in ("warning", "error")]
    assert [line[0] for line in levels if line] == [story.WARNING, story.ERROR]


@pytest.mark.parametrize("kind", ["heartbeat", "metric", "progress"])
def test_what_comes_all_the_time_is_not_told(kind: str) -> None:
    assert story.sentence(Event(kind, {"stage": "training"})) is None


def test_a_step_is_told_with_its_loss_even_a_broken_one() -> None:
    said = {"step": 3, "total_steps": 9, "loss": 8.1234}
    assert story.step_sentence(Event("metric", said)) == "Pod 2: step 3 of 9, loss 8.123"
    assert "nan" not in story.step_sentence(Event("metric", {**said, "loss": float("nan")}))


def test_a_pod_says_from_where_it_goes_on() -> None:
    launched = {"pod": "br-j-2-x", "price": {"usd_per_hour": 0.5}, "resumes_from": 12}
    told = pod_sentence(2, launched)
    assert told.endswith("it resumes from the checkpoint of step 12")
    assert "$0.500 per hour" in told
    assert pod_sentence(1, {**launched, "resumes_from": 0}).endswith("it starts at step 0")


def test_a_plain_call_has_no_log_and_needs_none() -> None:
    story.tell("nobody listens")
