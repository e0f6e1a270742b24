"""One reading of how an attempt ended, for all who ask."""

from __future__ import annotations

import pytest
from sqlalchemy import String, create_engine, literal, literal_column, select

from brightrun.ledger_attempts import is_interruption
from brightrun.outcomes import INTERRUPTIONS, Ending, ending
from brightrun.situation import Past

ALL = [
    ("", Ending.open),
    ("stop_failed", Ending.open),
    ("done", Ending.done),
    ("failed:out_of_memory", Ending.failed),
    ("lost:never started", Ending.missed),
    ("lost:never booted", Ending.unbooted),
    ("lost:no ending was written", Ending.taken),
    ("lost:gpu_lost", Ending.taken),
    ("stopped:sigterm", Ending.taken),
    ("stopped:unheard of", Ending.taken),
    ("stopped:lease", Ending.left),
    ("stopped:pause", Ending.wanted),
    ("stopped:switch", Ending.wanted),
    ("stopped:superseded", Ending.wanted),
    ("stopped:cancel", Ending.final),
    ("stopped:budget", Ending.final),
]


@pytest.mark.parametrize(("outcome", "how"), ALL)
def test_every_outcome_has_one_meaning(outcome: str, how: Ending) -> None:
    assert ending(outcome) is how
    if how is not Ending.open:
        kind, _, reason = outcome.partition(":")
        past = Past.model_validate({"attempt": 1, "outcome": kind, "reason": reason})
        assert past.interrupted is (how is Ending.taken)


def test_a_pod_that_stopped_itself_interrupts_the_job_and_says_nothing_against_its_market() -> None:
    assert {Ending.taken, Ending.left} == INTERRUPTIONS


def test_the_database_reads_it_in_the_same_way() -> None:
    column = literal_column("outcome", String)
    with create_engine("sqlite://").connect() as c:
        for outcome, how in ALL:
            row = select(literal(outcome).label("outcome")).subquery()
            found = c.execute(select(is_interruption(column)).select_from(row)).scalar_one()
            assert bool(found) is (how in INTERRUPTIONS), outcome
