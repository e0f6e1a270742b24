"""Many jobs at once on one worker machine: the real `make ui` with its worker and one flow process
a job, at the fake RunPod, whose pods replay what a real trainer wrote for the same spec.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import ui_browser
from commands import SMALL, furnish, ledger, small_file
from fakes.runpod import FakeRunPod
from fakes.runpod.bill import MICRO, Bill
from fakes.runpod.market import GpuKind, Market
from load_memory import Watch
from load_results import Row, row
from runpod_flow import trainers
from trainer_jobs import tiny_models
from ui_browser import Ui, make_ui

from brightrun import bookkeeping
from brightrun.compute import provider_of
from brightrun.ledger import JobRow, Ledger
from brightrun.settings import load

POD = Path(__file__).parent / "fakes/runpod/replay_pod.py"
# The second has the first one's measurements of the baseline, as all that follow.
REAL = ("load-real-1", "load-real-2")
USUAL_S = {"BRIGHTRUN_RUNPOD_LOOK_SECONDS": "15", "BRIGHTRUN_RUNPOD_GONE_SECONDS": "60"}
STAGGER_S = 6.0
LONGEST_S = 3000.0
GATHER_S = 1500.0


class Replays:
    """The image of all jobs but the real ones."""

    def __init__(self, home: Path, stagger_s: float = STAGGER_S) -> None:
        self.stagger_s = stagger_s
        self.record, self.go = home / "storage/jobs" / REAL[-1], home / "go"
        self.started = 0

    def __call__(self, told: dict[str, str]) -> tuple[Sequence[str], dict[str, str]] | None:
        if told["BRIGHTRUN_JOB_ID"] in REAL:
            return None
        self.started += 1
        mine = {"REPLAY_OF": str(self.record), "REPLAY_GO": str(self.go),
                "REPLAY_AFTER": str(self.started * self.stagger_s)}  # fmt: skip
        return (sys.executable, "-S", "-E", str(POD)), {**told, **mine}


def measure(count: int) -> list[Row]:
    """So many jobs at once; their rows for the table."""
    stock = GpuKind("NVIDIA H100 PCIe", 80, 2.39, 1.99, 1.25, {"US-KS-2": 1000})
    with tempfile.TemporaryDirectory(prefix="load-jobs-") as place:
        home = Path(place) / "home"
        furnish(home, tiny_models())
        pods = Replays(home)
        market, bill = Market([stock]), Bill(credit_micro=10_000 * MICRO)
        with trainers(home, cheap=pods, market=market, bill=bill) as (fake, account):
            account |= USUAL_S | {"BRIGHTRUN_WORKER_RUNS": str(count)}
            # Not the load's question: what the month may cost.
            account["BRIGHTRUN_MONTH_BUDGET_USD"] = "10000"
            os.environ.update({**account, "BRIGHTRUN_HOME": str(home), "BRIGHTRUN_CPU_SPEED": "1"})
            ui_browser.START_SECONDS = 900.0
            with make_ui(home, **account) as ui:
                return under_load(home, ui, fake, pods, count)


def under_load(home: Path, ui: Ui, fake: FakeRunPod, pods: Replays, count: int) -> list[Row]:
    file = str(small_file(home.parent))
    book = ledger(home)
    for job_id in REAL:
        submit(ui, job_id, file)
        (real,) = finished(book, [job_id], 900)
        assert real.status == "completed", real.error
    ids = [f"load-{number:03d}" for number in range(1, count + 1)]
    began, peak = time.monotonic(), 0
    with Watch(ui.process.pid) as watch:
        for job_id in ids:
            submit(ui, job_id, file)
        while peak < count and time.monotonic() - began < GATHER_S:
            peak = max(peak, len(fake.account.alive()))
            time.sleep(1)
        gathered = time.monotonic() - began
        following = watch.now("flow")
        pods.go.touch()
        rows = finished(book, ids, LONGEST_S)
    took = time.monotonic() - began
    flows = watch.peaks("flow")
    done = [job for job in rows if job.status == "completed"]
    for job in rows:
        if job.status != "completed":
            print(job.job_id, job.status, job.error, file=sys.stderr)
    leaked = len(fake.account.alive()) + len(book.open_attempts())
    before, after = apart_from_bill(book, fake)
    what = f"{count} jobs at once"
    return [
        row(what, "completed", len(done), "jobs", f"all {count}", len(done) == count),
        row(what, "pods alive at the same time", peak, "pods", str(count), peak == count),
        row(what, "pods left, books open", leaked, "", "0", leaked == 0),
        row(what, "ledger apart from the bill, all pods, before the bill is booked",
            round(float(before), 4), "USD"),
        row(what, "the same after `reconcile`", round(float(after), 6), "USD", "0", after == 0),
        row(what, "a flow process at most", max(flows), "MB", "< 300", max(flows) < 300),
        row(what, "a flow process while its pod trains", max(following), "MB"),
        row(what, "a piece in a process of its own at most", max(watch.peaks("piece")), "MB"),
        row(what, "flow processes together at most", watch.together["flow"], "MB"),
        row(what, "the machine's memory that all of it took", watch.taken, "MB"),
        row(what, "until all pods run", round(gathered), "s"),
        row(what, "all of it", round(took), "s"),
        row(what, "CPU seconds of flows, pieces, server and worker a job",
            round(sum(watch.cpu_s().values()) / count, 1), "s"),
        row(what, "requests to RunPod", len(fake.requests), ""),
    ]  # fmt: skip


def submit(ui: Ui, job_id: str, file: str) -> None:
    wish = {
        "training_file": file, "preset": "demo", "base_model": "tiny", "provider": "runpod",
        "market": "on_demand", "name": job_id, "client": f"Client {job_id[-1]}",
        "confirm": "above_limits", "repeat": True, "overrides": SMALL,
    }  # fmt: skip
    ui.start("finetune", {"request": wish, "job_id": job_id})


def finished(book: Ledger, ids: list[str], seconds: float) -> list[JobRow]:
    """The rows of jobs that have all ended, or of what they are when the time is over."""
    until, shown = time.monotonic() + seconds, ""
    while True:
        rows = [book.job(job_id) for job_id in ids if book.has_job(job_id)]
        states = sorted(str(job.status) for job in rows)
        said = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
        if said != shown:
            shown = said
            print(f"{datetime.now(UTC):%H:%M:%S} {said}", flush=True)
        if len(rows) == len(ids) and all(job.is_final for job in rows):
            return rows
        if time.monotonic() > until:
            return rows
        time.sleep(3)


def apart_from_bill(book: Ledger, fake: FakeRunPod) -> tuple[Decimal, Decimal]:
    """Dollars by which ledger and bill differ, pod by pod, before and after the bill is booked."""
    before = difference(book, fake)
    now = datetime.now(UTC)
    since = bookkeeping.midnight((now - timedelta(days=1)).date())
    a_day_later = now + timedelta(hours=26)
    provider = provider_of("runpod", load())
    found = bookkeeping.reconcile(book, "runpod", since, a_day_later, provider)
    bookkeeping.book(book, found)
    assert not found.alarms, found.alarms
    return before, difference(book, fake)


def difference(book: Ledger, fake: FakeRunPod) -> Decimal:
    now = fake.clock.now()
    billed = {line.name: line.gpu_micro(now) for line in fake.account.bill.lines.values()}
    ours = {
        pod.pod_name: int((pod.cost_usd or 0) * 10**6)
        for job in book.jobs(None)
        for pod in book.attempts(job.job_id)
    }
    names = billed.keys() | ours.keys()
    return Decimal(sum(abs(billed.get(n, 0) - ours.get(n, 0)) for n in names)) / 10**6
