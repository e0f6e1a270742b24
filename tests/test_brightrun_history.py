"""Many jobs at once: filters, orders, sums, and the scorecard over them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import inside

from brightrun import alerts, history, retrying
from brightrun.context import JobContext
from brightrun.errors import UsageError
from brightrun.history import Quality, Wanted
from brightrun.jobs import Confirm, JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.runfolder import Event
from brightrun.scorecard import scorecard
from brightrun.settings import load
from brightrun.verdicts import Evaluation, EvidenceKind, MetricName, Table, Verdict
from tasks import overviews

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EMPTY = Table(columns=("a",), rows=())


def add(ledger: Ledger, name: str, usd: str, status: Status, **wish: Any) -> None:
    """An ended job of two hours that cost so much."""
    at = wish.pop("at", NOW)
    ledger.create_job(name, JobRequest(training_file="f.json", **wish), at=at)
    ledger.add_attempt(
        name, 1, provider="local", market="spot", pod_name=name, usd_per_hour=Decimal(1),
        launched_at=at,
    )  # fmt: skip
    ledger.end_attempt(name, 1, at + timedelta(hours=1), "done", cost_usd=Decimal(usd))
    error = {"code": "trainer", "message": "nan"} if status == Status.failed else None
    ledger.update_job(
        name, status=status, error=error, started_at=at, finished_at=at + timedelta(hours=2),
        estimate={"cost_usd": {"low": 1, "likely": 10, "high": 20}},
    )  # fmt: skip


def judged(ledger: Ledger, name: str, gain: float, exploratory: bool = False) -> None:
    verdict = Verdict(
        metric=MetricName.emotional_intelligence, evidence=EvidenceKind.human, n=50,
        n_clusters=50, estimate=gain, ci_low=gain - 0.1, ci_high=gain + 0.1, target_met="pass",
        exploratory=exploratory,
    )  # fmt: skip
    tables = dict.fromkeys(
        ("perplexity", "knowledge", "lost_questions", "markers", "safety"), EMPTY
    )
    ledger.save_evaluation(name, Evaluation(verdicts=(verdict,), examples=(), **tables))


@pytest.fixture
def ledger(home: Path) -> Ledger:
    found = Ledger.open(load())
    add(found, "a", "10", Status.completed, client="Acme", requested_by="Ann", notes="Liked it")
    add(found, "b", "2", Status.failed, requested_by="Ben", at=NOW - timedelta(days=40))
    add(found, "c", "20", Status.completed, preset="aggressive", requested_by="Ann")
    judged(found, "c", 0.41)
    return found


def ids(ledger: Ledger, sort: history.Sort = "date", **wanted: Any) -> list[str]:
    wish = Wanted(**wanted)
    return [row.job_id for row in history.chosen(ledger.history(wish, NOW), wish, sort, None)]


def test_jobs_are_found_by_each_filter(ledger: Ledger) -> None:
    assert ids(ledger) == ["a", "c", "b"]
    assert ids(ledger, status="failed") == ["b"]
    assert ids(ledger, by="ANN") == ["a", "c"]
    assert ids(ledger, client="Acme") == ["a"]
    assert ids(ledger, preset="aggressive") == ["c"]
    assert ids(ledger, text="liked acme") == ["a"]
    assert ids(ledger, text="100%") == []
    assert ids(ledger, until=NOW - timedelta(days=1)) == ["b"]
    assert ids(ledger, cost_from=Decimal(5), cost_to=Decimal(15)) == ["a"]


def test_what_is_not_measured_stands_last_and_never_as_zero(ledger: Ledger) -> None:
    judged(ledger, "b", -0.05)
    assert ids(ledger, "quality") == ["c", "b", "a"]
    assert ids(ledger, "cost") == ["c", "a", "b"]
    rows = {row.job_id: row for row in ledger.history(Wanted(), NOW)}
    assert rows["a"].quality is None
    assert str(rows["c"].quality) == "+41% (at least +31%) human"
    assert rows["c"].hours == 2


def test_the_summary_counts_success_cost_errors_and_people(ledger: Ledger) -> None:
    add(ledger, "d", "1", Status.cancelled)
    said = history.summary(ledger.history(Wanted(), NOW))
    assert said["success_rate"] == pytest.approx(2 / 3)
    assert (said["total_usd"], said["average_usd"]) == (33, 15)
    assert said["error_codes"] == {"trainer": 1}
    assert said["people"]["Ann"]["usd_per_success"] == 15
    best = said["most_cost_effective"]
    assert (best["preset"], best["by"]) == ("aggressive", "EI gain per dollar")
    assert best["value"] == pytest.approx(0.41 / 20)
    assert history.summary([])["success_rate"] is None


def test_the_scorecard_counts_only_jobs_that_needed_nobody(ledger: Ledger) -> None:
    def share() -> tuple[str, int]:
        scores = scorecard(ledger.history(Wanted(), NOW), ledger.score_facts())
        return scores[0].value, scores[0].n

    assert share() == ("66.7%", 3)
    note = {"ts": NOW, "attempt": 0, "seq": 1, "type": "error", "payload": {"message": "nan"}}
    ledger.ingest("a", [Event.model_validate(note)])  # it had ended once: somebody resumed it
    assert share() == ("33.3%", 3)
    scores = {s.metric: s for s in scorecard(ledger.history(Wanted(), NOW), ledger.score_facts())}
    assert scores["emotional intelligence"].value == "pass 1"
    assert scores["emotional intelligence"].met is True
    judged(ledger, "c", 0.5, exploratory=True)
    outside = scorecard(ledger.history(Wanted(), NOW), ledger.score_facts())
    ei = next(s for s in outside if s.metric == "emotional intelligence")
    assert (ei.value, ei.n, ei.met) == ("exploratory 1", 0, None)
    assert scores["set-up time"].met is None
    assert scores["cost within 15 % of the likely estimate"].value == "50.0%"


def test_the_scorecard_of_a_time_counts_nothing_of_before(ledger: Ledger, home: Path) -> None:
    judged(ledger, "b", 0.1)
    at = NOW - timedelta(days=40)
    for number, minutes in ((2, 0), (3, 30)):
        ledger.add_attempt(
            "b", number, provider="local", market="spot", pod_name=f"b{number}",
            usd_per_hour=Decimal(1), launched_at=at + timedelta(minutes=minutes),
        )  # fmt: skip
        ledger.attempt_started("b", number, at + timedelta(minutes=minutes))
        ledger.end_attempt("b", number, at + timedelta(minutes=minutes + 5), "lost")

    def told(*since: str) -> dict[str, str]:
        found = inside(home, "scorecard", *since, "--json").json["scores"]
        return {score["metric"]: score["value"] for score in found}

    resumed = "interruptions resumed within 10 minutes"
    assert told()[resumed] == "0.0%, slowest 25.0 min"
    assert told()["emotional intelligence"] == "pass 2"
    since = told("--since", "2026-11-01")
    assert (since[resumed], since["emotional intelligence"]) == ("none", "pass 1")


def test_csv_and_json_carry_every_job_that_fits(ledger: Ledger, home: Path) -> None:
    ledger.update_job("a", notes="=1+1")
    rows = list(csv.DictReader(io.StringIO(inside(home, "jobs", "--csv").out)))
    assert [row["job_id"] for row in rows] == ["a", "c", "b"]
    assert rows[0]["notes"] == "'=1+1"  # no formula in a spreadsheet
    assert rows[1]["quality_gain"] == "0.41"
    found = inside(home, "jobs", "--sort", "cost", "--json").json["jobs"]
    assert [(row["job_id"], row["cost_usd"]) for row in found] == [("c", 20), ("a", 10), ("b", 2)]
    assert "66.7%" in inside(home, "jobs", "--summary").out
    assert inside(home, "jobs", "--sort", "size").code == 2


def test_events_are_found_by_pattern_and_time(ledger: Ledger, home: Path) -> None:
    for seq, (ago, word) in enumerate(((3, "disk"), (0, "clock")), 1):
        note = {"ts": datetime.now(UTC) - timedelta(hours=ago), "attempt": 0, "seq": seq}
        event = {**note, "type": "warning", "payload": {"message": word}}
        ledger.ingest("a", [Event.model_validate(event)])

    def found(*words: str) -> list[str]:
        rows = inside(home, "events", "a", "--json", *words).json["events"]
        return [row["payload"]["message"] for row in rows]

    assert found() == ["disk", "clock"]
    assert found("--grep", "d.sk") == ["disk"]
    assert found("--since", "2h") == ["clock"]
    assert inside(home, "events", "a", "--grep", "(").code == 2
    followed = inside(home, "events", "a", "--follow", "--json").out
    assert [json.loads(line)["seq"] for line in followed.splitlines()] == [1, 2]


WISH = JobRequest(training_file="f.json", interrupt_at=(3,), client="Acme")
NAN = {"adjustment": {"learning_rate": 0.0001, "micro_batch": 2}}


def test_a_retry_takes_the_suggestion_only_when_it_is_accepted() -> None:
    asked = retrying.propose(WISH, NAN, {}, accept=False)
    assert asked.request.values == WISH.values
    assert [str(c) for c in asked.open] == [
        "learning_rate: 0.0002 -> 0.0001 (suggested by the error)"
    ]
    own = "micro_batch -> 2 (applied by the pod itself, when its memory is not enough)"
    assert (asked.by_pod, retrying.by_pod({"adjustment": {"epochs": 2}})) == (own, "")
    taken = retrying.propose(WISH, NAN, {"epochs": "2"}, accept=True, requested_by="Ben")
    assert [str(change) for change in taken.changes] == [
        "epochs: 3 -> 2 (set by hand)",
        "learning_rate: 0.0002 -> 0.0001 (suggested by the error)",
    ]
    assert (taken.request.client, taken.request.requested_by) == ("Acme", "Ben")
    assert taken.request.interrupt_at == ()  # a test of recovery is not repeated
    for again in (False, True):  # consent to the parent's price is none to this one's
        paid = WISH.model_copy(update={"confirm": Confirm.above_limits, "repeat": True})
        found = retrying.propose(paid, NAN, {}, accept=True, agreed=again).request
        assert (found.confirm, found.repeat) == (
            Confirm.above_limits if again else Confirm.always, again,
        )  # fmt: skip
    by_hand = retrying.propose(WISH, NAN, {"learning_rate": 3e-4}, accept=True)
    assert by_hand.request.values.learning_rate == 3e-4
    with pytest.raises(UsageError):
        retrying.propose(WISH, NAN, {"epochs": "0"}, accept=True)


def test_a_suggestion_that_only_a_pod_can_take_is_shown_before_a_retry(
    home: Path, ledger: Ledger
) -> None:
    known = {"code": "out_of_memory", "message": "no room", "fix": ""}
    ledger.update_job("b", error={**known, "adjustment": {"micro_batch": 1}})
    shown = inside(home, "retry", "b", "--accept-suggestions", "--dry-run")
    assert "the same values again" in shown.err
    assert "micro_batch -> 1 (applied by the pod itself" in shown.err
    told = inside(home, "retry", "b", "--dry-run", "--json").json
    assert (told["changes"], told["open"]) == ([], [])
    assert told["by_pod"].startswith("micro_batch -> 1")
    said = alerts.news_of(JobContext(ledger.settings, ledger, "b"), "failed").lines
    assert said[-1].startswith("Then: micro_batch -> 1")


def test_a_template_fills_in_what_the_form_left_as_it_is(home: Path, ledger: Ledger) -> None:
    done = inside(home, "template", "save", "t", "--from", "c", "--set", "epochs=2", "--by", "Ann")
    assert done.code == 0, done.err
    row = ledger.template("t")
    assert row is not None
    assert "training_file" not in row.request
    wish = JobRequest(training_file="new.json", template="t", client="Bolt", requested_by="Ben")
    found = wish.filled(row.request)
    assert (found.preset, found.values.epochs, found.client) == ("aggressive", 2, "Bolt")
    assert (found.training_file, found.requested_by) == ("new.json", "Ben")
    assert inside(home, "template", "show", "nobody").code == 2


def test_the_tables_of_the_ui_hold_what_the_commands_say(ledger: Ledger) -> None:
    rows = overviews.jobs.fn("", "quality", 2)
    assert [row["job"] for row in rows] == ["c", "a"]
    assert rows[1]["EI gain"] == "not measured"
    assert overviews.sums.fn("Acme")["jobs"] == 1


def test_quality_without_an_interval_is_told_without_one() -> None:
    assert str(Quality(0.1, None, "llm_judge")) == "+10% llm_judge"
