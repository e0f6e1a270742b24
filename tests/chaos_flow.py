"""Some of the runs whole: the real flow with its Prefect server, the real trainer in its pods.

Time is real here (a look a second instead of 15, gone after 2 s instead of 60). What is killed
first goes round: the flow, the Prefect server, the worker, a pod; when, and what else, a run draws
from its seed. A dead flow is gone on with.
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
from chaos_worker import by_a_worker
from commands import (
    brightrun,
    finish,
    ledger,
    small_file,
    start,
    told_job,
    train_options,
)
from fakes.runpod import FakeRunPod
from runpod_flow import books, take_away, trainers, works

OPTIONS = train_options(epochs=6, scenarios=8, questions=8)
VICTIMS = ("pod", "flow", "server")  # of a job in the terminal, which has no worker
WORKER = "worker"
PER_POD_USD = Decimal("0.02")


def first_victim(seed: int, every: int) -> str:
    """Of the whole run of this seed; four in a row have one of each."""
    return (*VICTIMS, WORKER)[seed // every % 4]


def run_whole(seed: int, place: Path, models: Path, first: str) -> Result:
    """One job with up to three kills, judged like the others. first: what is killed first."""
    began, chance = time.monotonic(), random.Random(f"brightrun whole {seed}")
    result = Result(seed, whole=True)
    home = place / f"whole-{seed}" / "home"
    shutil.copytree(models, home / "models")
    wish = (str(small_file(home.parent)), *OPTIONS, "--provider", "runpod", "--market", "spot")
    with trainers(home) as (fake, account):
        if first == WORKER:
            job_id, said = by_a_worker(home, wish, account, chance, result), ""
        else:
            job_id, said = in_terminal(home, wish, account, first, fake, chance, result)
        if ledger(home).job(job_id).status != "completed":  # a person goes on once
            said = brightrun(home, "train", "--resume", job_id, "--yes", "--json", **account).err
        brightrun(home, "reap", "--json", **account)
        judge(home, job_id, fake, result, said)
    result.violations += fake.violations
    result.seconds = time.monotonic() - began
    return result


def in_terminal(
    home: Path,
    wish: tuple[str, ...],
    account: dict[str, str],
    first: str,
    fake: FakeRunPod,
    chance: random.Random,
    result: Result,
) -> tuple[str, str]:
    """The job's id and the last words of the command that brought it to its end."""
    flow = start(home, "train", *wish, "--yes", "--json", **account)
    job_id = told_job(flow)
    for victim in (first, *chance.choices(VICTIMS, k=chance.randint(0, 1))):
        if not works(home, job_id, lambda flow=flow: flow.poll() is not None):
            break
        time.sleep(chance.uniform(0.0, 4.0))
        result.faults[f"{victim}_killed"] += 1
        kill(victim, flow, fake)
        if victim != "pod":
            flow = gone_on(home, job_id, flow, account)
    done = finish(flow)
    if done.code != 0 and not ledger(home).job(job_id).at_rest:
        result.violations.append(f"exit {done.code}: {done.err[-300:]}")
    return job_id, done.err


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
    result.apart_usd = result.ledger_usd - result.bill_usd
    for cost, bill in books(home, job_id, fake):
        if abs(cost - bill) > PER_POD_USD:
            result.violations.append(f"a pod cost {cost}, its bill is {bill}")
