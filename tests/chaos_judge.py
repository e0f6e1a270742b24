"""What must be true of a job after everything went wrong, and what was found instead."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import faulty_storage
from chaos_account import ChaosRunPod
from chaos_driver import JOB, job_at
from chaos_pod import STATE, STEPS, state_after
from chaos_schedule import Schedule
from chaos_world import START, World

from brightrun import bookkeeping
from brightrun.context import JobContext
from brightrun.errors import ProviderError
from brightrun.runfolder import checkpoint

MICRO = 10**6
CENT = Decimal("0.005")  # what rounds to a cent
DAY_S = 26 * 3600.0
UNLEARNED = "its id was never learned"
# How far the ledger's own reckoning may be from the bill, before the bill is booked: a minute and a
# half for each pod (lists half a minute behind, two looks a minute apart), and all the time in
# which nobody could see a pod go, at the dearest price of the fake.
PER_POD_S, DEAREST_USD = 90.0, Decimal("3.3")
UNSEEN = ("storage_away", "api_away")
AGAIN_S, PASSES = 300.0, 24


@dataclass
class Result:
    """violations empty: all that must be true is."""

    seed: int
    status: str = ""
    reason: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    leaked: int = 0
    apart_usd: Decimal = Decimal(0)
    undriven_s: float = 0.0
    double_billed: int = 0
    unlearned: int = 0
    whole: bool = False
    ledger_usd: Decimal = Decimal(0)
    bill_usd: Decimal = Decimal(0)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed, "status": self.status, "reason": self.reason,
            "attempts": self.attempts, "faults": dict(self.faults),
            "apart_before_the_bill_usd": float(self.apart_usd),
            "ledger_usd": float(self.ledger_usd), "bill_usd": float(self.bill_usd),
            "violations": self.violations, "seconds": round(self.seconds, 1),
        }  # fmt: skip


def judge(home: Path, world: World, fake: ChaosRunPod, schedule: Schedule, result: Result) -> None:
    """What must be true of every job, whatever happened to it."""
    if (home / "storage" / faulty_storage.ORDERS).exists():
        faulty_storage.mend_storage(home / "storage")
    job = job_at(home, fake.url, world, schedule.seed)
    rows = job.ledger.attempts(JOB)
    result.attempts = len(rows)
    wrong = result.violations
    leaked = fake.account.alive()
    result.leaked = len(leaked)
    wrong += [f"leaked: {name}" for name in leaked]
    wrong += [f"books open: {row.pod_name}" for row in job.ledger.open_attempts()]
    double = doubled(fake, {row.pod_name for row in rows})
    result.double_billed = len(double)
    wrong += double
    result.bill_usd = Decimal(fake.account.bill.total_micro(world.now())) / MICRO
    result.apart_usd = job.ledger.cost_so_far(JOB, world.now()) - result.bill_usd
    wrong += too_far_apart(result, schedule)
    wrong += reconciled(job, world, result)
    result.ledger_usd = job.ledger.cost_so_far(JOB, world.now())
    if abs(result.ledger_usd - result.bill_usd) >= CENT and not result.unlearned:
        wrong.append(f"ledger {result.ledger_usd}, bill {result.bill_usd}")
    wrong += result_is_kept(job, result.status)


def too_far_apart(result: Result, schedule: Schedule) -> list[str]:
    """The ledger's own reckoning against the bill."""
    unseen = sum(event.value for event in schedule.events if event.kind in UNSEEN)
    seconds = PER_POD_S * result.attempts + result.undriven_s + unseen
    most = DEAREST_USD * Decimal(seconds) / 3600
    if abs(result.apart_usd) <= most:
        return []
    return [f"before the bill {result.apart_usd} apart, at most {most:.6f} can be explained"]


def reconciled(job: JobContext, world: World, result: Result) -> list[str]:
    """A day later the daily reconciliation looks at the bill and books it; its alarms.

    One alarm is right: the driver was killed before it learned the pod's id, and the pod was taken
    away before anybody looked. The bill has ids only, so a person has to say whose it was.
    """
    world.sleep(DAY_S)
    since = bookkeeping.midnight(START.date())
    for _ in range(PASSES):
        try:
            found = bookkeeping.reconcile(job.ledger, "runpod", since, world.now(), job.provider)
        except ProviderError:
            world.sleep(AGAIN_S)
            continue
        bookkeeping.book(job.ledger, found)
        wrong = [pod for pod in found.alarms if UNLEARNED not in pod.reason]
        result.unlearned = len(found.alarms) - len(wrong)
        return [f"bill alarms: {pod.pod_id} {pod.pod_name}: {pod.reason}" for pod in wrong]
    return ["the bill was never answered"]


def doubled(fake: ChaosRunPod, known: set[str]) -> list[str]:
    """Attempts that were billed twice, or at the same time as another; pods of no attempt."""
    lines = [line for line in fake.account.bill.lines.values() if line.gpu_micro(fake.clock.now())]
    names = Counter(line.name for line in lines)
    found = [f"{n} pods billed as {name}" for name, n in names.items() if n > 1]
    found += [f"billed, but no attempt: {name}" for name in names if name not in known]
    lines.sort(key=lambda line: line.since)
    for before, after in pairwise(lines):
        if before.until is None or before.until > after.since:
            found.append(f"{before.name} and {after.name} billed at the same time")
    return found


def result_is_kept(job: JobContext, status: str) -> list[str]:
    """The adapter of an undisturbed run, or the newest checkpoint that was ever told, intact."""
    if status == "completed":
        sha = job.ledger.job(JOB).adapter_sha256
        return [] if sha == state_after(STEPS) else [f"another adapter: {sha}"]
    told = [e.payload["step"] for e in job.ledger.events(JOB) if e.type == "checkpoint"]
    kept = job.folder.checkpoints()
    if max(told, default=0) > max(kept, default=0):
        return [f"checkpoint {max(told)} was told, {kept} are there"]
    if kept:
        local = job.settings.home / "look"
        job.folder.download_folder(checkpoint(kept[-1]), local)
        if (local / STATE).read_text() != state_after(kept[-1]):
            return [f"checkpoint {kept[-1]} holds another state"]
    return []
