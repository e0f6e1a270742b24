"""Many drivers at once: what a flow does from renting its pod to that pod's end, a process a job.

Rent, follow, renew the lease, take events in, alarms, release, books: the code of `tasks.pod.train`
without Prefect around it, at the fake RunPod, with pods that write a run folder and train nothing.
The whole flows are in load_jobs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from fakes.runpod.bill import MICRO, Bill
from fakes.runpod.market import GpuKind, Market
from load_jobs import GATHER_S, Replays, apart_from_bill, finished
from load_results import Row, row
from runpod_flow import trainers
from runpod_rentals import SPEC, estimate

from brightrun import attempts
from brightrun.context import driver_name, open_job
from brightrun.errors import ProviderError, SpotInterrupted
from brightrun.jobs import JobRequest
from brightrun.jobs import Market as Wanted
from brightrun.ledger import Ledger, Status
from brightrun.recovery import PAUSES_AFTER_LOSS
from brightrun.runfolder import RunFolder
from brightrun.settings import load
from tasks.pod import finished as brought_to_its_end

STEPS, USD = 100, 2.39
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["load_drivers"])
STAGES = ("preprocessing", "model_loading", "training", "measuring", "finalization")


def measure(count: int) -> list[Row]:
    stock = GpuKind("NVIDIA H100 PCIe", 80, USD, 1.99, 1.25, {"US-KS-2": 1000})
    with tempfile.TemporaryDirectory(prefix="load-drivers-") as place:
        home = Path(place) / "home"
        pods = Replays(home, stagger_s=1.0)
        bill = Bill(credit_micro=10_000 * MICRO)
        with trainers(home, cheap=pods, market=Market([stock]), bill=bill) as (fake, account):
            account |= {"BRIGHTRUN_HOME": str(home), "BRIGHTRUN_MONTH_BUDGET_USD": "10000"}
            account["BRIGHTRUN_RUNPOD_LOOK_SECONDS"] = "15"
            account["BRIGHTRUN_RUNPOD_GONE_SECONDS"] = "15"
            os.environ.update(account)
            book = Ledger.open(load())
            written(pods.record)
            ids = [f"load-{number:03d}" for number in range(1, count + 1)]
            for job_id in ids:
                gated(book, job_id)
            began, peak = time.monotonic(), 0
            drivers = [FORKS.Process(target=drive, args=(job_id, home)) for job_id in ids]
            for driver in drivers:
                driver.start()
            while peak < count and time.monotonic() - began < GATHER_S:
                peak = max(peak, len(fake.account.alive()))
                time.sleep(0.5)
            pods.go.touch()
            rows = finished(book, ids, GATHER_S)
            for driver in drivers:
                driver.join(120)
            took = time.monotonic() - began
            done = sum(job.status == Status.completed for job in rows)
            whole = sum(len(book.metrics(job_id)) == STEPS for job_id in ids)
            left = len(fake.account.alive()) + len(book.open_attempts())
            before, after = apart_from_bill(book, fake)
            used = [json.loads(file.read_text()) for file in home.glob("used-*.json")]
    what = f"{count} drivers at once"
    return [
        row(what, "jobs completed", done, "", f"all {count}", done == count),
        row(what, f"jobs with all {STEPS} steps in the ledger", whole, "", f"{count}",
            whole == count),
        row(what, "pods alive at the same time", peak, "", f"{count}", peak == count),
        row(what, "pods left, books open", left, "", "0", left == 0),
        row(what, "ledger apart from the bill, all pods, before the bill is booked",
            round(float(before), 4), "USD"),
        row(what, "the same after `reconcile`", round(float(after), 6), "USD", "0", after == 0),
        row(what, "a driver at most", max(one["mb"] for one in used), "MB", "< 300",
            max(one["mb"] for one in used) < 300),
        row(what, "CPU of a driver", round(sum(one["cpu_s"] for one in used) / count, 1), "s"),
        row(what, "all of it", round(took), "s"),
    ]  # fmt: skip


def gated(book: Ledger, job_id: str) -> None:
    """A job as the gate leaves it."""
    wish = JobRequest(training_file="x.json", provider="runpod", market=Wanted("on_demand"))
    book.create_job(job_id, wish)
    offered = {
        "market": "on_demand", "offered": True, "price": {"usd_per_hour": USD},
        "interruptions_per_hour": {"likely": 0.0},
    }  # fmt: skip
    agreed = estimate(USD, "on_demand", markets=[offered], interruption_s={"likely": 120.0})
    book.update_job(job_id, estimate=agreed, hard_limit_usd=Decimal(20))
    folder = RunFolder(load().storage, job_id)
    folder.write_json("spec.json", {"spec": SPEC})
    folder.write_json("estimate.json", agreed)
    folder.write_json("gate.json", {"hard_limit_usd": 20.0})


def written(record: Path) -> None:
    """What the pods replay: five stages, the steps, a checkpoint, an adapter."""
    told: list[dict[str, Any]] = []
    for name in STAGES:
        told.append({"type": "stage", "payload": {"name": name, "status": "started"}})
        for step in range(1, STEPS + 1) if name == "training" else ():
            said = {"step": step, "loss": 2 / step, "total_steps": STEPS, "seconds": 1.0}
            told.append({"type": "metric", "payload": said})
        ended = {"name": name, "status": "finished", "elapsed_s": 1.0}
        told.append({"type": "stage", "payload": ended})
    lines = "".join(json.dumps(one) + "\n" for one in told)
    files = {
        "attempts/1/events-00000001.jsonl": lines,
        "attempts/1/_DONE": json.dumps({"adapter_sha256": "a" * 64, "steps": STEPS}),
        f"checkpoints/step-{STEPS:08d}/state.txt": "state",
        f"checkpoints/step-{STEPS:08d}/manifest.json": json.dumps({"files": {}, "step": STEPS}),
        "measurements/items.jsonl": "{}\n",
        "adapter/manifest.json": json.dumps({"files": {}}),
    }
    for name, text in files.items():
        place = record / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def drive(job_id: str, home: Path) -> None:
    """The job to its end, with the retries of the task; what it used of the machine is kept."""
    job = open_job(job_id)
    assert job.ledger.claim(job_id, driver_name())
    job.ledger.update_job(job_id, status=Status.running, stage="train")
    while (done := job.waited_out(lambda: brought_to_its_end(job))) is None:
        try:
            done = attempts.train_once(job, lambda attempt: None)
            break
        except (SpotInterrupted, ProviderError) as error:
            print(f"{job_id}: {error}", flush=True)
            job.clock.sleep(PAUSES_AFTER_LOSS[0])
    made = str(done["adapter_sha256"])
    job.ledger.update_job(job_id, status=Status.completed, adapter_sha256=made)
    job.ledger.release_claim(job_id, driver_name())
    mine = resource.getrusage(resource.RUSAGE_SELF)
    used = {"mb": mine.ru_maxrss * 1024 // 10**6, "cpu_s": mine.ru_utime + mine.ru_stime}
    (home / f"used-{job_id}.json").write_text(json.dumps(used))
