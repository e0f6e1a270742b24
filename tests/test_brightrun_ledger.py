"""Jobs, claims, attempts and records in the ledger, and how it opens."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import event, select, text
from sqlalchemy.exc import StatementError

from brightrun import ledger_store
from brightrun.costs import Observed
from brightrun.errors import ConfigurationError, LedgerAway, StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.ledger_schema import verdicts
from brightrun.ledger_store import LIBPQ, engine_of
from brightrun.settings import Settings
from brightrun.verdicts import Evaluation, EvidenceKind, MetricName, Table, Verdict

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TODAY = datetime.now(UTC)  # claims are compared with when this process began
WISH = JobRequest(training_file="sample", name="first", client="Acme", requested_by="ada")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Settings(home=tmp_path / "home")


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return Ledger.open(settings)


def rent(ledger: Ledger, job_id: str, number: int = 1, pod: str = "") -> None:
    ledger.add_attempt(
        job_id,
        number,
        provider="local",
        market="on_demand",
        pod_name=pod or f"br-{job_id}-{number}",
        usd_per_hour=Decimal("0.50"),
        launched_at=NOW,
    )


# --- opening ------------------------------------------------------------------------------------
def test_it_opens_from_any_folder(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Ledger.open(settings).jobs() == ()


def test_an_up_to_date_ledger_opens_without_waiting_for_the_lock(settings: Settings) -> None:
    Ledger.open(settings)
    with FileLock(settings.home / "ledger.lock"):
        assert Ledger.open(settings).jobs() == ()


def test_opening_an_up_to_date_ledger_does_not_import_alembic(settings: Settings) -> None:
    Ledger.open(settings)
    code = (
        "import sys, brightrun.ledger as l, brightrun.settings as s\n"
        "l.Ledger.open(s.load()).jobs(); assert 'alembic' not in sys.modules"
    )
    environment = {**os.environ, "BRIGHTRUN_HOME": str(settings.home)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_it_keeps_a_write_ahead_log_and_waits_for_other_writers(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 30_000
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_ledger_of_a_newer_version_is_refused(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="cannot be migrated"):
        Ledger.open(ledger.settings)


def test_a_file_that_is_no_database_is_named_as_such(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="not a database"):
        Ledger.open(settings)


def test_a_home_that_cannot_be_made_is_a_located_error(settings: Settings) -> None:
    settings.home.write_text("a file")
    with pytest.raises(StorageError, match="BRIGHTRUN_HOME"):
        Ledger.open(settings)


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/d", "nonsense s3cret", "sqlite+x:///s3cret"])
def test_an_unusable_url_is_refused_without_its_secret(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        Ledger.open(Settings(home=settings.home))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "changed"),
    [
        ("", {}),
        ("?connect_timeout=3&keepalives_idle=7", {"connect_timeout": "3", "keepalives_idle": "7"}),
    ],
)
def test_a_silent_postgres_is_given_a_minute_or_what_the_url_says(
    query: str, changed: dict[str, str], tmp_path: Path
) -> None:
    url = f"postgresql://u@127.0.0.1:9/l{query}"
    engine = engine_of(Settings.model_validate({"home": tmp_path, "DATABASE_URL": url}))
    told: dict[str, Any] = {}

    @event.listens_for(engine, "do_connect")
    def asked(dialect: object, record: object, args: object, words: dict[str, Any]) -> None:
        told.update(words)

    with pytest.raises(LedgerAway):
        ledger_store.revision(engine)
    assert {name: told[name] for name in LIBPQ} == LIBPQ | changed
    assert LIBPQ["connect_timeout"] <= 60
    assert LIBPQ["tcp_user_timeout"] <= 60_000


# --- jobs ---------------------------------------------------------------------------------------
def test_creating_a_job_twice_keeps_the_first(ledger: Ledger) -> None:
    first = ledger.create_job("a-1", WISH, at=NOW)
    again = ledger.create_job("a-1", JobRequest(training_file="other"))
    assert again == first
    assert (first.status, first.client, first.created_at) == (Status.created, "Acme", NOW)
    assert JobRequest.model_validate(first.request) == WISH


def test_a_job_is_found_by_a_unique_beginning(ledger: Ledger) -> None:
    for job_id in ("swift-otter-1", "swift-otter-2", "calm-fox-1"):
        ledger.create_job(job_id, WISH)
    assert ledger.job("calm").job_id == "calm-fox-1"
    assert ledger.job("swift-otter-1").job_id == "swift-otter-1"
    with pytest.raises(ConfigurationError, match="several jobs: swift-otter"):
        ledger.job("swift")
    with pytest.raises(ConfigurationError, match="near: calm-fox-1"):
        ledger.job("calm-fix-1")
    for nothing in ("%", "_alm", ""):
        with pytest.raises(ConfigurationError, match="no job"):
            ledger.job(nothing)


def test_jobs_are_listed_newest_first_and_by_status(ledger: Ledger) -> None:
    for age, job_id in enumerate(("new", "mid", "old")):
        ledger.create_job(job_id, WISH, at=NOW - timedelta(days=age))
    ledger.update_job("mid", status="running", spec_hash="h")
    assert [j.job_id for j in ledger.jobs()] == ["new", "mid", "old"]
    assert [j.job_id for j in ledger.jobs(1)] == ["new"]
    assert [j.job_id for j in ledger.jobs(status=Status.running)] == ["mid"]
    assert [j.job_id for j in ledger.jobs_with_spec("h")] == ["mid"]


def test_jobs_are_found_by_what_they_are(ledger: Ledger) -> None:
    for number, status in enumerate(("running", "paused", "completed", "created"), start=1):
        ledger.create_job(f"j{number}", JobRequest(training_file="f"))
        ledger.update_job(f"j{number}", status=Status(status), flow_run_id=f"run-{number}")
    ledger.update_job("j3", adapter_sha256="a" * 64)

    def ids(**wanted: Any) -> list[str]:
        return sorted(row.job_id for row in ledger.jobs(None, **wanted))

    assert ids(moving=True) == ["j1", "j4"]
    assert ids(runs=["run-2", "run-3", "run-9"]) == ["j2", "j3"]
    assert ids(runs=[]) == []
    assert ids(adapter_sha256="a" * 64) == ["j3"]
    assert [ledger.has_job(name) for name in ("j1", "j", "j9")] == [True, False, False]


def test_updates_keep_everything_else_and_note_the_times(ledger: Ledger) -> None:
    ledger.create_job("a", WISH, at=NOW)
    running = ledger.update_job("a", status=Status.running, stage="training")
    assert running.started_at is not None
    assert running.finished_at is None
    done = ledger.update_job(
        "a", status="completed", result={"steps": 3}, hard_limit_usd=Decimal("1.000001")
    )
    assert (done.stage, done.client, done.started_at) == ("training", "Acme", running.started_at)
    assert done.hard_limit_usd == Decimal("1.000001")
    assert done.finished_at is not None
    assert done.is_final
    assert ledger.update_job("a", status="completed").finished_at == done.finished_at


def test_the_first_end_of_a_job_stands_and_only_it_is_told(ledger: Ledger) -> None:
    ledger.create_job("a", JobRequest(training_file="f"))
    assert ledger.end_job("a", Status.failed, {"message": "gone"})
    assert not ledger.end_job("a", Status.cancelled, {"message": "late"})
    row = ledger.job("a")
    assert (row.status, row.error) == ("failed", {"message": "gone"})
    assert row.finished_at is not None
    assert not ledger.end_job("a", Status.paused)
    assert ledger.job("a") == row
    ledger.update_job("a", status="created", finished_at=None, error=None)
    assert ledger.end_job("a", Status.paused)
    paused = ledger.job("a")
    assert (paused.status, paused.finished_at, paused.error) == ("paused", None, None)
    ledger.update_job("a", status="created")  # gone on with: it may end again
    assert ledger.end_job("a", Status.cancelled, {"message": "later"})
    assert not ledger.end_job("nobody's", Status.failed, {})


def test_updates_refuse_unknown_fields_statuses_and_jobs(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    with pytest.raises(TypeError, match="colour"):
        ledger.update_job("a", colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="done-ish"):
        ledger.update_job("a", status="done-ish")
    with pytest.raises(ConfigurationError, match="no job"):
        ledger.update_job("b", stage="x")


# --- one driver per job -------------------------------------------------------------------------
def test_a_living_driver_keeps_its_job_and_may_claim_again(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    assert ledger.claim("a", "one", now=TODAY)
    assert not ledger.claim("a", "two", now=TODAY + timedelta(seconds=30))
    assert ledger.claim("a", "one", now=TODAY + timedelta(seconds=50))
    assert ledger.renew_claim("a", "one", TODAY + timedelta(seconds=100))
    assert not ledger.claim("a", "two", now=TODAY + timedelta(hours=5))
    claim = ledger.job("a").claim
    assert claim is not None
    assert (claim.driver, claim.pid) == ("one", os.getpid())


def test_a_silent_driver_loses_its_job_and_hears_of_it(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    ledger.claim("a", "one", now=TODAY, host="elsewhere")
    assert not ledger.claim("a", "two", now=TODAY + timedelta(seconds=119))
    assert ledger.claim("a", "two", now=TODAY + timedelta(seconds=121))
    assert not ledger.renew_claim("a", "one")


def test_a_dead_process_of_this_host_loses_its_job_at_once(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ledger.claim("a", "one", pid=dead.pid, now=TODAY)
    assert ledger.claim("a", "two", now=TODAY)
    ledger.claim("a", "two", pid=dead.pid, host="elsewhere", now=TODAY)
    assert not ledger.claim("a", "three", now=TODAY)


def test_a_killed_process_that_nobody_has_buried_is_dead_too(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ledger.claim("a", "one", pid=child.pid)
    assert not ledger.claim("a", "two", now=TODAY)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ledger.claim("a", "two", now=TODAY)
    child.communicate()


def test_only_the_driver_can_release_its_claim(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    ledger.claim("a", "one", now=NOW)
    ledger.release_claim("a", "two")
    assert ledger.job("a").claim is not None
    ledger.release_claim("a", "one")
    assert ledger.job("a").claim is None


def test_a_claim_that_was_taken_over_can_be_given_back_as_it_was(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    ledger.claim("a", "one", pid=7, host="elsewhere", now=TODAY)
    dead = ledger.job("a").claim
    assert ledger.claim("a", "two", now=TODAY + timedelta(hours=1))
    ledger.release_claim("a", "three", dead)
    assert ledger.job("a").claim != dead
    ledger.release_claim("a", "two", dead)
    assert ledger.job("a").claim == dead


# --- attempts -----------------------------------------------------------------------------------
def test_an_attempt_is_on_disk_before_its_pod_is_asked_for(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    assert ledger.next_attempt_number("a") == 1
    rent(ledger, "a")
    seen = Ledger.open(ledger.settings).attempts("a")
    assert [(r.number, r.usd_per_hour, r.ended_at) for r in seen] == [(1, Decimal("0.5"), None)]
    assert ledger.next_attempt_number("a") == 2
    assert [r.pod_name for r in ledger.open_attempts()] == ["br-a-1"]


def test_no_pod_is_written_down_twice(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    rent(ledger, "a")
    with pytest.raises(StorageError, match="attempt 1 of job a"):
        rent(ledger, "a", pod="another")
    with pytest.raises(StorageError, match="br-a-1"):
        rent(ledger, "a", 2, pod="br-a-1")
    with pytest.raises(StorageError, match="no-job"):
        rent(ledger, "no-job")
    assert len(ledger.attempts("a")) == 1


def test_a_closed_attempt_stays_closed(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    rent(ledger, "a")
    ledger.attempt_started("a", 1, NOW + timedelta(seconds=5))
    ended = ledger.end_attempt(
        "a", 1, NOW + timedelta(hours=2), "lost:gone", last_step=7, resumed_from=4
    )
    again = ledger.end_attempt("a", 1, NOW + timedelta(hours=9), "done")
    assert again == ended
    assert (ended.outcome, ended.cost_usd, ended.last_step) == ("lost:gone", Decimal(1), 7)
    assert ended.started_at == NOW + timedelta(seconds=5)
    assert ledger.open_attempts() == ()


def test_a_moment_without_time_zone_is_refused(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    with pytest.raises(StatementError, match="has no time zone"):
        ledger.claim("a", "one", now=datetime(2026, 1, 1))


# --- records ------------------------------------------------------------------------------------
def test_the_last_word_on_a_job_counts_and_names_its_amount(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    assert ledger.approval("a") is None
    estimate = {"cost_usd": {"low": 100.0, "likely": 150.0, "high": 212.5}}
    ledger.update_job("a", estimate=estimate)
    ledger.add_approval("a", approved=False, approver="bob", note="too much", at=NOW)
    said = ledger.add_approval("a", approved=True, approver=" cfo ", override_budget=True, at=NOW)
    assert ledger.approval("a") == said
    assert (said.approver, said.approved, said.override_budget) == ("cfo", True, True)
    assert said.estimate_high_usd == Decimal("212.5")
    with pytest.raises(ConfigurationError, match="needs a name"):
        ledger.add_approval("a", approved=True, approver="  ")
    with pytest.raises(ConfigurationError, match="no job"):
        ledger.add_approval("b", approved=True, approver="x")


def test_artifacts_are_replaced_by_kind_and_place(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    ledger.add_artifact("a", "adapter", "file:///x", "s1", 10)
    ledger.add_artifact("a", "report", "file:///r", "s2", 20)
    ledger.add_artifact("a", "adapter", "file:///x", "s3", 3_000_000_000)
    found = [(x.kind, x.sha256, x.size) for x in ledger.artifacts("a")]
    assert found == [("adapter", "s3", 3_000_000_000), ("report", "s2", 20)]
    assert [x.uri for x in ledger.artifacts("a", "report")] == ["file:///r"]


def test_an_evaluation_made_again_replaces_the_first(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    empty = Table(columns=(), rows=())

    def made(estimate: float) -> Evaluation:
        verdict = Verdict(
            metric=MetricName.perplexity,
            evidence=EvidenceKind.measurement,
            n=5,
            n_clusters=5,
            estimate=estimate,
            proves_nothing="It says nothing.",
            note="One.",
        )
        tables = dict.fromkeys(("perplexity", "knowledge", "lost_questions", "markers"), empty)
        return Evaluation(verdicts=(verdict,), safety=empty, examples=(), **tables)

    assert ledger.evaluation("a") is None
    ledger.save_evaluation("a", made(-0.1))
    ledger.save_evaluation("a", made(-0.2))
    assert ledger.evaluation("a") == made(-0.2)
    with ledger.read() as connection:
        v = verdicts.c
        rows = connection.execute(select(v.metric, v.estimate, v.target_met, v.note)).all()
    said = "It says nothing. One."
    assert [tuple(row) for row in rows] == [("perplexity", -0.2, "not_measured", said)]


def test_a_registered_file_knows_its_last_job(ledger: Ledger) -> None:
    assert ledger.file("sample") is None
    ledger.register_file("sample", "/data/a.json", {"valid": True, "pairs": 89}, "s1", NOW)
    ledger.register_file("sample", "/data/b.json", {"valid": False}, "s2", NOW)
    ledger.register_file("another", "/data/c.json", {}, "s3")
    ledger.create_job("by-name", WISH, at=NOW)
    ledger.create_job("by-path", JobRequest(training_file="/data/b.json"), at=NOW + timedelta(1))
    assert [f.name for f in ledger.files()] == ["another", "sample"]
    found = ledger.file("sample")
    assert found is not None
    assert (found.path, found.sha256, found.summary) == ("/data/b.json", "s2", {"valid": False})
    assert found.last_job == "by-path"


def test_an_alert_is_told_once(ledger: Ledger) -> None:
    assert ledger.record_alert("2026-11", "80", "text")
    assert not ledger.record_alert("2026-11", "80", "text")
    assert ledger.record_alert("2026-11", "95", "text")
    assert ledger.record_alert("2026-12", "80", "text")
    assert ledger.record_alert("2026-11", "80", "text", client="Acme")


def test_observations_come_back_for_their_machine_and_model(ledger: Ledger) -> None:
    ledger.create_job("a", WISH)
    mine = Observed("cpu/2", "tiny", "nf4", "training", 1000.0, 12.5, cpu_seconds=20.5)
    other = Observed("cpu/8", "tiny", "nf4", "measuring", 1000.0, 2.0)
    ledger.add_observations("a", [mine, other])
    ledger.add_observations("a", [mine])
    assert ledger.observed("cpu/2", "tiny") == (replace(mine, job_id="a"),)
    assert ledger.observed("cpu/2", "demo") == ()
    with pytest.raises(ConfigurationError, match="no job"):
        ledger.add_observations("b", [mine])
