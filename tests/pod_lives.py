"""A planned job and what its pods do, one way after another, at the fake provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.compute import FakeProvider, Life

from brightrun.attempts import train_once
from brightrun.context import JobContext, driver_name
from brightrun.errors import OutOfMemory, SpotInterrupted
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.outcomes import OWN_LIMIT
from brightrun.runfolder import EventWriter, RunFolder
from brightrun.settings import Settings

ESTIMATE = {
    "price": {"usd_per_hour": 0.5, "source": "test", "as_of": "2026-11-22"},
    "market": "on_demand",
    "stage_seconds": {"training": 3.0},
    "vram_gb": 1.0,
    "hard_limit_usd": 1.0,
}
SPEC = {
    "base_model": {"name": "tiny", "context": 8192, "template": "chatml"},
    "data": {
        "name": "f", "source_sha256": "a", "train_sha256": "b", "validation_sha256": "c",
        "train_conversations": 4, "validation_conversations": 1, "supervised_pairs": 8,
        "train_tokens": 100, "supervised_tokens": 50,
    },
    "values": {}, "plan_sha256": "p", "threads": 2,
}  # fmt: skip


def job_with(home: Path, *lives: Life, interrupt_at: tuple[int, ...] = ()) -> JobContext:
    """A planned and claimed job whose pods live as told."""
    settings = Settings(home=home)
    ledger = Ledger.open(settings)
    request = JobRequest(training_file="x.json", interrupt_at=interrupt_at)
    ledger.create_job("job-1", request)
    ledger.claim("job-1", driver_name())
    job = JobContext(settings, ledger, "job-1")
    vars(job)["provider"] = FakeProvider(*lives)
    job.folder.write_json("spec.json", {"spec": SPEC})
    job.folder.write_json("estimate.json", ESTIMATE)
    return job


def provider_of(job: JobContext) -> FakeProvider:
    found = job.provider
    assert isinstance(found, FakeProvider)
    return found


class Trainer:
    """What a pod writes, from its own side of the run folder."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.folder = RunFolder(environment["STORAGE_URL"], environment["BRIGHTRUN_JOB_ID"])
        self.attempt = int(environment["BRIGHTRUN_ATTEMPT"])
        self.writer = EventWriter(self.folder, self.attempt)

    def beat(self) -> None:
        self.writer.add("heartbeat", {"stage": "training", "step": 0})
        self.writer.flush()

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            self.writer.add("metric", {"step": step, "total_steps": 9, "loss": 1.0})
        self.writer.flush()

    def save(self, step: int) -> None:
        self.folder.write_json(f"checkpoints/step-{step:08d}/manifest.json", {"files": {}})
        self.writer.add("checkpoint", {"step": step, "bytes": 1, "seconds": 0.1})
        self.writer.flush()

    def end(self, name: str, **content: Any) -> None:
        self.folder.write_json(f"attempts/{self.attempt}/{name}", content)


def finishes(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    newest = max(pod.folder.checkpoints(), default=0)
    yield
    pod.steps(newest + 1, 9)
    yield
    pod.writer.add("stage", {"name": "finalization", "status": "finished", "elapsed_s": 1.0})
    pod.writer.flush()
    pod.end("_DONE", adapter_sha256="abc", steps=9)


def dies_at_step_5(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    yield
    pod.steps(1, 4)
    pod.save(4)
    yield
    pod.steps(5, 5)


def dies_at_once(environment: dict[str, str]) -> Iterator[None]:
    yield


def runs_short_of_memory(environment: dict[str, str]) -> Iterator[None]:
    """Killed by the kernel: its last heartbeat is all that it said."""
    pod = Trainer(environment)
    yield
    seen = {"stage": "model_loading", "step": 0, "memory_mb": 15_900, "free_mb": 120}
    pod.writer.add("heartbeat", seen)
    pod.writer.flush()


def hangs(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.beat()
    while True:
        yield


def obeys(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.steps(1, 2)
    while (asked := pod.folder.stop_request()) is None:
        pod.beat()
        yield
    pod.save(2)
    pod.end("_STOPPED.json", reason=asked["reason"], by=asked["by"])


def ends_at_its_own_limit(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.steps(1, 2)
    yield
    pod.save(2)
    pod.end("_STOPPED.json", reason="budget", by=OWN_LIMIT)


def runs_out_of_memory(environment: dict[str, str], **adjustment: Any) -> Iterator[None]:
    yield
    suggested = adjustment or {"micro_batch": 2}
    error = OutOfMemory("no room for 4", fix="smaller", adjustment=suggested)
    Trainer(environment).end("_FAILED.json", **error.as_dict())


def loses_its_gpu(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.steps(1, 2)
    pod.save(2)
    yield
    pod.end("_FAILED.json", **SpotInterrupted("GPU is lost", fault="gpu_lost").as_dict())


def drive(job: JobContext) -> dict[str, Any]:
    return train_once(job, lambda attempt: None)


def outcomes(job: JobContext) -> list[str]:
    return [a.outcome for a in job.ledger.attempts("job-1")]


def stale_after(job: JobContext, seconds: float) -> None:
    quicker = job.settings.model_copy(update={"heartbeat_stale_seconds": seconds})
    object.__setattr__(job, "settings", quicker)
