"""Who reads and writes what of the ledger in a Supabase project: a real Postgres, roles as there.

Storage's tables are a stub (supabase_database). Run by `make test-postgres`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from supabase_database import person, prepare, signed_in

from brightrun import doctor_supabase, ledger_access
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.ledger_schema import metadata
from brightrun.settings import Settings, load
from flows import setting_up

HIDDEN = {"outbox", "threads", "alembic_version"}
POD = {"sub": "pod", "brightrun_job": "job-a"}
PODS = "brightrun_pod"


@pytest.fixture
def database(home: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a project with a ledger of one job and run folders in Storage, without rules."""
    if not pytestconfig.getoption("--postgres"):
        pytest.skip("row level security is Postgres's: make test-postgres")
    url = os.environ["DATABASE_URL"]
    prepare(url)
    monkeypatch.setenv("BRIGHTRUN_POD_STORAGE_ENDPOINT", "https://example.org/storage/v1/s3")
    monkeypatch.setenv("BRIGHTRUN_POD_STORAGE_URL", "s3://runs/prod")
    ledger = Ledger.open(load())
    ledger.create_job("job-a", JobRequest(training_file="spring", requested_by="Ann"))
    return url


@pytest.fixture
def ruled(database: str) -> str:
    ledger_access.apply(load())
    return database


def counted(session: psycopg.Connection[Any], table: str) -> int:
    (found,) = session.execute(f"SELECT count(*) FROM {table}").fetchone() or (None,)  # type: ignore[arg-type]
    return int(str(found))


def refused(session: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(InsufficientPrivilege), session.transaction():
        session.execute(statement)  # type: ignore[arg-type]


POOLER = "postgres.abc:x@aws-0-eu-central-1.pooler.supabase.com:6543"


@pytest.mark.parametrize(
    ("database", "endpoint", "here"),
    [
        ("postgres:x@db.abc.supabase.co", "https://abc.supabase.co/storage/v1/s3", True),
        ("postgres:x@db.abc.supabase.co", "https://abc.storage.supabase.co/storage/v1/s3/", True),
        (POOLER, "https://abc.supabase.co/storage/v1/s3", True),
        ("postgres:x@127.0.0.1:54322", "http://127.0.0.1:54321/storage/v1/s3", True),
        ("postgres:x@db.abc.supabase.co", "https://xyz.supabase.co/storage/v1/s3", False),
        (POOLER, "https://xyz.supabase.co/storage/v1/s3", False),
        ("postgres:x@db.abc.supabase.co", "https://files.example.org/storage/v1/s3", False),
        ("postgres.abc:x@db.example.org", "https://abc.supabase.co/storage/v1/s3", False),
        ("postgres:x@db.abc.supabase.co", "https://s3.eu-central-1.amazonaws.com", False),
    ],
)
def test_a_bucket_belongs_into_the_ledgers_project_alone(
    tmp_path: Path, database: str, endpoint: str, here: bool
) -> None:
    told = {
        "home": tmp_path, "DATABASE_URL": f"postgresql://{database}/postgres",
        "pod_storage_url": "s3://runs/prod", "pod_storage_endpoint": endpoint,
    }  # fmt: skip
    assert ledger_access.holds_run_folders(Settings.model_validate(told)) is here


def step(*, dry_run: bool) -> tuple[str, str]:
    (found,) = setting_up.access(load(), dry_run)
    return found.state, found.said


def test_setup_tells_applies_and_then_has_nothing_to_do(database: str) -> None:
    state, would = step(dry_run=True)
    assert state == "todo"
    assert "bucket runs" in would
    with signed_in(database, "authenticated", **person("member")) as session:
        refused(session, "SELECT 1 FROM brightrun.training_jobs")
    state, said = step(dry_run=False)
    assert (state, f"would {said}") == ("done", would)
    assert [step(dry_run=dry)[0] for dry in (False, True)] == ["ok", "ok"]


def test_what_was_changed_by_hand_is_named_and_mended(ruled: str) -> None:
    assert ledger_access.lacking(load()) == ()
    changes = {
        'DROP POLICY "members read" ON brightrun.verdicts': "policy members read on verdicts",
        "CREATE POLICY x ON brightrun.attempts USING (true)": "policy x on attempts",
        "ALTER TABLE brightrun.shares DISABLE ROW LEVEL SECURITY": "row level security of shares",
        "GRANT SELECT ON public.brightrun_jobs TO anon": "grants of brightrun_jobs",
        "GRANT UPDATE (status) ON brightrun.training_jobs TO authenticated": "grants of "
        "training_jobs.status",
        "DROP TRIGGER author_sign_in ON brightrun.feedback": "trigger author_sign_in",
        "UPDATE storage.buckets SET public = true": "bucket runs",
        "CREATE TABLE brightrun.later (id int)": "policy members read on later",
    }
    with psycopg.connect(ruled) as session:
        for change in changes:
            session.execute(change)  # type: ignore[arg-type]
    assert set(changes.values()) <= set(ledger_access.lacking(load()))
    ledger_access.apply(load())
    assert ledger_access.lacking(load()) == ()


def test_doctor_finds_a_rule_that_was_opened_by_hand(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = doctor_supabase.rules(load())
    assert (found.state, found.fix) == ("fail", "brightrun setup")
    ledger_access.apply(load())
    (found,) = doctor_supabase.rules(load())
    assert found.state == "ok"
    with psycopg.connect(database) as session:
        session.execute("CREATE POLICY open ON brightrun.training_jobs FOR SELECT USING (true)")
    (found,) = doctor_supabase.rules(load())
    assert (found.state, "open" in found.said) == ("fail", True)
    with psycopg.connect(database) as held:  # as a long transaction of a job does
        held.execute("LOCK TABLE brightrun.training_jobs IN ROW EXCLUSIVE MODE")
        monkeypatch.setattr(ledger_access, "LOCK_MS", 50)
        (found,) = doctor_supabase.rules(load())
    assert (found.state, "cannot be looked at" in found.said) == ("warn", True)


def test_a_member_reads_every_table_but_letters_and_writes_none(ruled: str) -> None:
    tables = {str(table.name) for table in metadata.sorted_tables} | {"alembic_version"}
    with signed_in(ruled, "authenticated", **person("member")) as session:
        assert counted(session, "brightrun.training_jobs") == 1
        for table in sorted(tables - HIDDEN):
            counted(session, f"brightrun.{table}")
            refused(session, f"DELETE FROM brightrun.{table}")
        for table in HIDDEN:
            refused(session, f"SELECT 1 FROM brightrun.{table}")
        refused(session, "INSERT INTO brightrun.feedback (job_id, author, text, created_at) "
                         "VALUES ('job-a', 'x', 'x', now())")  # fmt: skip
        session.execute("UPDATE brightrun.training_jobs SET notes = 'mine'")
        found = session.execute("SELECT notes FROM brightrun.training_jobs").fetchall()
        assert found == [("",)]


@pytest.mark.parametrize("claims", [{"sub": "7d0c", "user_metadata": {"brightrun": "owner"}}, POD])
def test_whoever_signs_in_without_being_a_member_sees_no_row(
    ruled: str, claims: dict[str, Any]
) -> None:
    with signed_in(ruled, "authenticated", **claims) as session:
        for table in {str(table.name) for table in metadata.sorted_tables} - HIDDEN:
            assert counted(session, f"brightrun.{table}") == 0
        for view in ("brightrun_jobs", "brightrun_metrics", "brightrun_verdicts"):
            assert counted(session, f"public.{view}") == 0


def test_without_a_sign_in_nothing_can_be_asked(ruled: str) -> None:
    with signed_in(ruled, "anon") as session:
        for table in metadata.sorted_tables:
            refused(session, f"SELECT 1 FROM brightrun.{table.name}")
        for view in ("jobs", "metrics", "verdicts", "me"):
            refused(session, f"SELECT 1 FROM public.brightrun_{view}")
        refused(session, "SELECT brightrun.standing()")


def test_an_owner_writes_what_people_decide_under_the_name_of_the_sign_in(ruled: str) -> None:
    with signed_in(ruled, "authenticated", **person("owner")) as session:
        session.execute("INSERT INTO brightrun.feedback (job_id, author, text, created_at) "
                        "VALUES ('job-a', 'Somebody else', 'good', now())")  # fmt: skip
        assert session.execute("SELECT author FROM brightrun.feedback").fetchall() == [
            ("ann@example.org",)
        ]
        session.execute("INSERT INTO brightrun.templates (name, request, notes, created_by, "
                        "created_at) VALUES ('t', '{}', '', 'Somebody else', now())")  # fmt: skip
        session.execute("UPDATE brightrun.templates SET notes = 'n', created_by = 'Somebody'")
        kept = session.execute("SELECT created_by, notes FROM brightrun.templates").fetchall()
        assert kept == [("ann@example.org", "n")]
        session.execute("UPDATE brightrun.training_jobs SET notes = 'look again'")
        refused(session, "UPDATE brightrun.training_jobs SET requested_by = 'Bob'")
        refused(session, "UPDATE brightrun.training_jobs SET hard_limit_micro = 0")
        refused(session, "UPDATE brightrun.budgets SET limit_micro = 0")
        assert session.execute("SELECT notes FROM public.brightrun_jobs j JOIN "
                               "brightrun.training_jobs USING (job_id)").fetchall() == [
            ("look again",)
        ]  # fmt: skip
        assert session.execute("SELECT * FROM public.brightrun_me").fetchall() == [
            ("ann@example.org", "owner")
        ]


def test_the_secret_key_and_the_programs_own_connection_write_everything(ruled: str) -> None:
    with signed_in(ruled, "service_role") as session:
        for table in metadata.sorted_tables:
            counted(session, f"brightrun.{table.name}")
        session.execute("INSERT INTO brightrun.feedback (job_id, author, text, created_at) "
                        "VALUES ('job-a', 'Bob', 'good', now())")  # fmt: skip
        assert session.execute("SELECT author FROM brightrun.feedback").fetchall() == [("Bob",)]
        session.execute("UPDATE brightrun.training_jobs SET status = 'failed'")
    ledger = Ledger.open(load())
    ledger.create_job("job-b", JobRequest(training_file="spring"))
    assert len(ledger.jobs()) == 2


def test_a_pods_token_reaches_the_objects_of_its_own_job_alone(ruled: str) -> None:
    put = "INSERT INTO storage.objects (bucket_id, name) VALUES ('{}', '{}')"
    with psycopg.connect(ruled) as session:
        session.execute("INSERT INTO storage.buckets VALUES ('other', 'other', false)")
        for name in ("job-a", "job-b"):
            session.execute(put.format("runs", f"prod/jobs/{name}/spec.json"))  # type: ignore[arg-type]
    with signed_in(ruled, PODS, **POD) as session:
        session.execute(put.format("runs", "prod/jobs/job-a/adapter/x"))  # type: ignore[arg-type]
        for bucket, name in (
            ("runs", "prod/jobs/job-b/x"), ("runs", "prod/jobs/job-ab/x"), ("runs", "jobs/job-a/x"),
            ("other", "prod/jobs/job-a/x"), ("runs", "prod/jobs/job-a"),
        ):  # fmt: skip
            refused(session, put.format(bucket, name))
        refused(session, "UPDATE storage.objects SET name = 'prod/jobs/job-b/x'")
        seen = session.execute("SELECT name FROM storage.objects ORDER BY name").fetchall()
        assert seen == [("prod/jobs/job-a/adapter/x",), ("prod/jobs/job-a/spec.json",)]
        session.execute("DELETE FROM storage.objects")
        for table in metadata.sorted_tables:
            refused(session, f"SELECT 1 FROM brightrun.{table.name}")
    others = (("authenticated", person("owner")), ("authenticated", POD),
              (PODS, {}), (PODS, {"brightrun_job": ""}))  # fmt: skip
    for role, claims in others:
        with signed_in(ruled, role, **claims) as session:
            assert counted(session, "storage.objects") == 0
            refused(session, put.format("runs", "prod/jobs//x"))


def test_a_dry_run_leaves_nothing(database: str) -> None:
    lacking = ledger_access.lacking(load())
    assert "bucket runs" in lacking
    with psycopg.connect(database) as session:
        assert counted(session, "storage.buckets") == 0
        assert counted(session, "pg_policies") == 0
        assert counted(session, "pg_views WHERE viewname LIKE 'brightrun%'") == 0
    assert ledger_access.lacking(load()) == lacking


@pytest.mark.parametrize(
    "endpoint",
    ["https://s3.eu-central-1.amazonaws.com", "https://other.supabase.co/storage/v1/s3"],
)
def test_run_folders_elsewhere_get_no_bucket_here(
    database: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_POD_STORAGE_ENDPOINT", endpoint)
    ledger_access.apply(load())
    with psycopg.connect(database) as session:
        assert counted(session, "storage.buckets") == 0
