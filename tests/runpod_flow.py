"""Whole jobs through the real command line at a fake RunPod whose pods are the real trainer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from commands import ROOT, ledger, run_folder
from fakes.registry import registry
from fakes.runpod import Contract, FakeRunPod
from fakes.runpod.server import KEY
from waiting import until

from brightrun.clock import SystemClock
from brightrun.runfolder import MANIFEST, checkpoint

# A pod's environment -> command and environment here, or None.
Cheap = Callable[[dict[str, str]], tuple[Sequence[str], dict[str, str]] | None]


@contextmanager
def trainers(
    home: Path, cheap: Cheap = lambda told: None, **fake_with: Any
) -> Iterator[tuple[FakeRunPod, dict[str, str]]]:
    """An account in real time whose image is our trainer, and the environment to rent there.

    Only the waiting is shortened: a look a second instead of 15, gone after 2 s instead of 60.
    cheap: may take a pod in the trainer's place (None: it does not); fake_with: further arguments
    of the fake (market, bill).
    """

    def entry(told: dict[str, str]) -> tuple[Sequence[str], dict[str, str]]:
        if taken := cheap(told):
            return taken
        here = {"BRIGHTRUN_MODELS": str(home / "models"), "PYTHONPATH": str(ROOT)}
        return (sys.executable, "-m", "trainer"), {**told, **here, "HF_HUB_OFFLINE": "1"}

    with (
        registry() as images,
        FakeRunPod(entry, SystemClock(), contract=Contract.load(), **fake_with) as fake,
    ):
        yield (
            fake,
            {
                "BRIGHTRUN_RUNPOD_API_KEY": KEY,
                "BRIGHTRUN_RUNPOD_REST_URL": fake.url,
                "BRIGHTRUN_RUNPOD_GRAPHQL_URL": fake.graphql_url,
                "BRIGHTRUN_RUNPOD_IMAGE": images.image(),
                "BRIGHTRUN_RUNPOD_LOOK_SECONDS": "1",
                "BRIGHTRUN_RUNPOD_GONE_SECONDS": "2",
                "BRIGHTRUN_POD_STORAGE_URL": (home / "storage").as_uri(),
            },
        )
    assert fake.violations == []


def half_stored(home: Path, job_id: str) -> list[int]:
    """Steps of checkpoints that have files and no manifest."""
    folder = run_folder(home, job_id)
    steps = [int(name[5:]) for name in folder.names("checkpoints")]
    return [
        step
        for step in steps
        if folder.names(checkpoint(step)) and not folder.exists(f"{checkpoint(step)}/{MANIFEST}")
    ]


def take_away(fake: FakeRunPod) -> None:
    """The host is lost at once, without a SIGTERM: the pod is in no list any more."""
    with fake.lock:
        for pod in fake.account.pods.values():
            if pod.process is not None and pod.process.poll() is None:
                os.killpg(pod.process.pid, signal.SIGKILL)
                pod.process.wait()
                fake.account.interrupt(pod.name)


def told(home: Path, job_id: str, attempt: int, type_: str) -> list[dict[str, Any]]:
    """Payloads of an attempt's events in its run folder."""
    return [e.payload for e in run_folder(home, job_id).events(attempt) if e.type == type_]


def works(home: Path, job_id: str, over: Callable[[], bool]) -> bool:
    """Wait until the newest pod has told a step; False: the job's driver has ended before."""

    def seen() -> str:
        if over():
            return "over"
        newest = max(run_folder(home, job_id).attempts(), default=0)
        steps = (p for p in told(home, job_id, newest, "metric") if "loss" in p)
        return "works" if newest and next(steps, None) else ""

    return bool(until(seen, 240, "a step of a pod") == "works")


def books(home: Path, job_id: str, fake: FakeRunPod) -> list[tuple[Decimal, Decimal]]:
    """(ledger, the fake's own bill) in dollars, attempt by attempt."""
    now = SystemClock().now()
    billed = {line.name: line.gpu_micro(now) for line in fake.account.bill.lines.values()}
    rows = ledger(home).attempts(job_id)
    return [(row.cost_usd or Decimal(0), Decimal(billed[row.pod_name]) / 10**6) for row in rows]
