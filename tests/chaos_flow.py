"""Some of the runs whole: the real flow with its Prefect server, the real trainer in its pods.

Time is real here (a look a second instead of 15, gone after 2 s instead of 60). From its seed a run
draws what is killed and when: a pod, the flow, the Prefect server. A dead flow is gone on with.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from chaos_judge import Result, doubled
from commands import (
    brightrun,
    finish,
    ledger,
    run_folder,
    small_file,
    start,
    told_job,
    train_options,
)
from fakes.runpod import FakeRunPod
from runpod_flow import books, take_away, told, trainers
from waiting import until

OPTIONS = train_options(epochs=6, scenarios=8, questions=8)
VICTIMS = ("pod", "flow", "server")
PER_POD_USD = Decimal("0.02")


def run_whole(seed: int, place: Path, models: Path) -> Result:
    """One job with up to three kills, judged like the others."""
    began, chance = time.monotonic(), random.Random(f"brightrun whole {seed}")
    result = Result(seed, whole=True)
    home = place / f"whole-{seed}" / "home"
    shutil.copytree(models, home / "models")
    file = small_file(home.parent)
    with trainers(home) as (fake, account):
        wish = (str(file), *OPTIONS, "--provider", "runpod", "--market", "spot")
        flow = start(home, "train", *wish, "--yes", "--json", **account)
        job_id = told_job(flow)
        for victim in (VICTIMS[seed % 3], *chance.choices(VICTIMS, k=chance.randint(0, 1))):
            if not works(home, job_id, flow):
                break
            time.sleep(chance.uniform(0.0, 4.0))
            result.faults[f"{victim}_killed"] += 1
            kill(victim, flow, fake)
            if victim != "pod":
                flow = gone_on(home, job_id, flow, account)
        done = finish(flow)
        if done.code != 0 and not ledger(home).job(job_id).at_rest:
            result.violations.append(f"exit {done.code}: {done.err[-300:]}")
        if ledger(home).job(job_id).status != "completed":  # a person goes on once
            done = brightrun(home, "train", "--resume", job_id, "--yes", "--json", **account)
        brightrun(home, "reap", "--json", **account)
        judge(home, job_id, fake, result, done.err)
    result.violations += fake.violations
    result.seconds = time.monotonic() - began
    return result


def works(home: Path, job_id: str, flow: Any) -> bool:
    """Wait until the newest pod has told a step; False: the flow has ended before."""

    def seen() -> str:
        if flow.poll() is not None:
            return "ended"
        newest = max(run_folder(home, job_id).attempts(), default=0)
        steps = (p for p in told(home, job_id, newest, "metric") if "loss" in p)
        return "works" if newest and next(steps, None) else ""

    return bool(until(seen, 240, "a step of a pod") == "works")


def kill(victim: str, flow: Any, fake: FakeRunPod) -> None:
    if victim == "pod":
        take_away(fake)
        return
    mine = psutil.Process(flow.pid)
    servers = [p for p in mine.children() if "flows.server" in " ".join(p.cmdline())]
    for process in servers if victim == "server" else [mine]:
        process.kill()


def gone_on(home: Path, job_id: str, flow: Any, account: dict[str, str]) -> Any:
    """The flow has died, or dies without its server; then another one goes on with the job."""
    try:
        flow.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        flow.kill()
        flow.communicate()
    return start(home, "train", "--resume", job_id, "--yes", "--json", **account)


def judge(home: Path, job_id: str, fake: FakeRunPod, result: Result, said: str) -> None:
    book, now = ledger(home), fake.clock.now()
    row = book.job(job_id)
    result.status, result.reason = str(row.status), str((row.error or {}).get("message", ""))
    if row.status != "completed":
        result.violations.append(f"{row.status}: {result.reason or said[-300:]}")
    rows = book.attempts(job_id)
    result.attempts, leaked = len(rows), fake.account.alive()
    result.leaked = len(leaked)
    result.violations += [f"leaked: {name}" for name in leaked]
    result.violations += [f"books open: {pod.pod_name}" for pod in book.open_attempts()]
    double = doubled(fake, {pod.pod_name for pod in rows})
    result.double_billed = len(double)
    result.violations += double
    result.bill_usd = Decimal(fake.account.bill.total_micro(now)) / 10**6
    result.ledger_usd = book.cost_so_far(job_id, now)
    for cost, bill in books(home, job_id, fake):
        if abs(cost - bill) > PER_POD_USD:
            result.violations.append(f"a pod cost {cost}, its bill is {bill}")
