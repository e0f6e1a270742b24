"""A ledger of 10,000 jobs and 1,000,000 metric rows: list, compare, budget, and taking events in.

The history is that of `benches.year`, with documents of the size that real jobs have and the event
that each metric row comes from. Seconds are by the wall, of a ledger that was opened afresh, the
slowest of some times; beside them the asking process' own CPU seconds. The backtest is held against
its second with a year only (`--history 5000 --metrics 600000`). On a machine that others use,
`first` lets what is measured go before them (real time, as root).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from commands import ROOT, environment
from load_results import Row, row
from postgres_server import postgres_server
from runpod_rentals import SPEC
from sqlalchemy import text, update

from benches import year
from brightrun import budgeting, digest, following
from brightrun.backtest import backtest
from brightrun.context import JobContext
from brightrun.history import Wanted, chosen, summary
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.ledger_schema import jobs as jobs_table
from brightrun.ledger_store import POSTGRES_SCHEMA
from brightrun.runfolder import EventWriter, RunFolder
from brightrun.scorecard import scorecard
from brightrun.settings import Settings
from reports import runs

COMPARED = ("j00007", "j01234", "j05000", "j09999")
REPEATS, WANTED_S, WANTED_ROWS, YEAR = 5, 1.0, 5000, 5000
BACKTEST = "estimate: the backtest"
INGESTED, SEGMENT = 50_000, 500
PAYLOAD = (
    '{"step": 1, "loss": 1.98, "total_steps": 100, "learning_rate": 0.0002, "grad_norm": 0.61, '
    '"epoch": 0.4, "tokens": 8000, "supervised_tokens": 4100, "seconds": 4.0, "memory_mb": 71000}'
)
Questions = dict[str, Callable[[Ledger], object]]


def measure(jobs: int, metrics: int, *, postgres: bool, first: bool = False) -> list[Row]:
    with ExitStack() as held:
        place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="load-ledger-")))
        url = None
        if postgres:
            url = held.enter_context(postgres_server(place / "postgres")).fresh()
        known = Settings.model_validate({"home": place / "home", "DATABASE_URL": url})
        where = "Postgres" if postgres else "SQLite"
        said = f"{where}, {jobs:,} jobs, {metrics:,} metric rows"
        fill(known, jobs, metrics)
        if first:
            hurry(place / "postgres/postmaster.pid")
        found = [
            asked(known, said, name, ask, judged=name != BACKTEST or jobs <= YEAR)
            for name, ask in questions(jobs).items()
        ]
        found += [
            command(known, said, words, url) for words in ("jobs", "budget", "jobs --summary")
        ]
        return [*found, *ingested(known, said)]


def hurry(postmaster: Path) -> None:
    """This process, and a database server whose sessions begin from now on."""
    pids = [os.getpid()]
    if postmaster.exists():
        pids.append(int(postmaster.read_text().split()[0]))
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def fill(known: Settings, jobs: int, metrics: int) -> None:
    """The year, then what `benches.year` leaves out: documents, events, specs of compared jobs."""
    ledger = Ledger.open(known)
    began = time.monotonic()
    year.fill(ledger, jobs, metrics)
    with ledger.write() as c:
        c.execute(update(jobs_table).values(spec={"kept": "x" * 1500}, result={"kept": "x" * 1500}))
        postgres = c.dialect.name == "postgresql"
        schema = f"{POSTGRES_SCHEMA}." if postgres else ""
        payload = "cast(:payload as json)" if postgres else ":payload"
        c.execute(
            text(
                f"insert into {schema}job_events (job_id, attempt, seq, ts, type, payload) "
                f"select job_id, attempt, seq, ts, 'metric', {payload} "
                f"from {schema}training_metrics_history"
            ),
            {"payload": PAYLOAD},
        )
    if postgres:
        with ledger.write() as c:
            c.execute(text("analyze"))  # as its own housekeeping does within a minute
    for job_id in compared(jobs):
        RunFolder(known.storage, job_id).write_json("spec.json", {"spec": SPEC})
    print(f"filled in {time.monotonic() - began:.0f} s", flush=True)


def compared(jobs: int) -> tuple[str, ...]:
    return tuple(job_id for job_id in COMPARED if int(job_id[1:]) < jobs)


def questions(jobs: int) -> Questions:
    """What the commands ask."""

    def compare(ledger: Ledger) -> object:
        return runs.gather(
            [JobContext(ledger.settings, ledger, job_id) for job_id in compared(jobs)]
        )

    def searched(ledger: Ledger) -> object:
        wanted = Wanted(text="run 49")
        return chosen(ledger.history(wanted, year.NOW), wanted, "quality", 20)

    def listed(ledger: Ledger) -> object:
        return chosen(ledger.history(Wanted(), year.NOW), Wanted(), "date", 20)

    return {
        "list: the newest": listed,
        "list: by words, by quality": searched,
        "list: summary of all": lambda ledger: summary(ledger.history(Wanted(), year.NOW)),
        f"compare: {len(compared(jobs))} jobs": compare,
        "budget: the month": lambda ledger: budgeting.month(ledger, year.NOW),
        "budget: forecast": lambda ledger: budgeting.outlook(ledger, year.NOW),
        "budget: report of six months": lambda ledger: budgeting.report(ledger, year.NOW),
        BACKTEST: lambda ledger: backtest(ledger.observed_jobs()),
        "scorecard": lambda ledger: scorecard(
            ledger.history(Wanted(), year.NOW), ledger.score_facts()
        ),
        "digest": lambda ledger: digest.digest(ledger, year.NOW),
        "a sweep's look at jobs that move": lambda ledger: ledger.jobs(None, moving=True),
    }


def asked(
    known: Settings, said: str, name: str, ask: Callable[[Ledger], object], *, judged: bool
) -> Row:
    """The slowest of some times."""
    took, worked = [], []
    for _ in range(REPEATS):
        ledger = Ledger.open(known)
        began, cpu = time.perf_counter(), time.process_time()
        ask(ledger)
        took.append(time.perf_counter() - began)
        worked.append(time.process_time() - cpu)
        ledger.close()
    worst, cpu = max(took), max(worked)
    print(
        f"{name}: {statistics.median(took):.3f} s, worst {worst:.3f} s, {cpu:.3f} CPU s", flush=True
    )
    held = ("< 1", worst < WANTED_S) if judged else ("", None)
    return row(said, name, round(worst, 3), "s", *held, cpu)


def command(known: Settings, said: str, words: str, url: str | None) -> Row:
    """The whole command with its start; nothing was asked of that."""
    more = {"DATABASE_URL": url} if url else {}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "flows.cli", *words.split(), "--json"], cwd=ROOT, check=True,
        env=environment(known.home, **more), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    took = time.perf_counter() - began
    return row(said, f"`brightrun {words}` with Python's start", round(took, 2), "s")


def ingested(known: Settings, said: str) -> list[Row]:
    """What a pod wrote, taken in as its driver does: out of the run folder into a full ledger."""
    ledger = Ledger.open(known)
    ledger.create_job("load-ingest", JobRequest(training_file="spring"))
    job = JobContext(known, ledger, "load-ingest")
    writer = EventWriter(job.folder, 1)
    for step in range(1, INGESTED + 1):
        writer.add(
            "metric",
            {"step": step, "loss": 2.0, "total_steps": INGESTED, "learning_rate": 2e-4,
             "grad_norm": 0.6, "epoch": 0.1, "tokens": 8000, "supervised_tokens": 4000,
             "seconds": 4.0, "tokens_per_s": 2000.0, "memory_mb": 71000},
        )  # fmt: skip
        if step % SEGMENT == 0:
            writer.flush()
    began, cpu = time.perf_counter(), time.process_time()
    taken = following.ingest(job, 1)
    rate = taken / (time.perf_counter() - began)
    cpu = time.process_time() - cpu
    print(f"ingested {taken}: {rate:.0f} rows/s, {cpu:.3f} CPU s", flush=True)
    assert taken == INGESTED
    assert len(ledger.metrics("load-ingest")) == INGESTED
    began = time.perf_counter()
    assert following.ingest(job, 1) == 0
    look = time.perf_counter() - began
    name = f"{INGESTED:,} metric events of a pod"
    return [
        row(said, f"ingestion: {name}", round(rate), "rows/s", "≥ 5,000", rate >= WANTED_ROWS, cpu),
        row(said, f"ingestion: a look when nothing is new, after {name}", round(look, 3), "s"),
    ]
