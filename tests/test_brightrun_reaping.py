"""The reaper: which pods go, and that pods of others are never named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brightrun.reaping import Books, ReaperRules, Sighting, doomed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES = ReaperRules()


def why(facts: dict[str, Any] | None, *, name: str = "br-job-1-ab", minutes: float = 60) -> str:
    since = NOW - timedelta(minutes=minutes)
    usual = {"job_id": "job", "launched_at": since, "lease_until": NOW + timedelta(minutes=5)}
    books = {} if facts is None else {name: Books.model_validate({**usual, **facts})}
    found = doomed([Sighting(name=name, since=since)], books, NOW, RULES)
    return found[0].why if found else ""


def test_a_pod_at_work_stays() -> None:
    assert why({}) == ""
    assert why({"limit_usd": Decimal(9), "spent_usd": Decimal(9)}) == ""


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"attempt_ended": True}, "its attempt has ended"),
        ({"job_over": True}, "its job is over"),
        ({"launched_at": NOW - timedelta(hours=73)}, "older than 72 hours"),
        ({"limit_usd": Decimal(9), "spent_usd": Decimal("9.01")}, r"$9.01 of $9.00"),
        ({"lease_until": NOW - timedelta(minutes=16)}, "nobody drives it since"),
    ],
)
def test_a_pod_without_a_live_job_goes_with_its_reason(facts: dict[str, Any], words: str) -> None:
    assert words in why(facts)


def test_a_pod_may_be_adopted_for_a_while_after_its_lease() -> None:
    assert why({"lease_until": NOW - timedelta(minutes=14)}) == ""


def test_an_unknown_pod_goes_when_it_is_no_newborn() -> None:
    assert why(None, minutes=9) == ""
    assert "no attempt" in why(None, minutes=11)
    assert doomed([Sighting(name="br-x")], {}, NOW, RULES)


@given(st.text(max_size=12), st.booleans())
def test_pods_of_others_are_never_named(name: str, known: bool) -> None:
    books = {name: Books(job_id="j", launched_at=NOW, job_over=True)} if known else {}
    found = doomed([Sighting(name=name)], books, NOW, RULES)
    assert [pod.name for pod in found] == ([name] if name.startswith("br-") else [])
