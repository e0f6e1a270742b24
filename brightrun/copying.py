"""A pod makes the NF4 copy of a base model: a job of its own, with row, lease and bill.

The pod is the trainer's; what it has to do lies in its run folder (`COPY_WISH`), and it ends with
the hash of the manifest that it wrote beside the copy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brightrun import accounts, basemodels, copies
from brightrun.context import JobContext, driver_name
from brightrun.copies import Copy
from brightrun.errors import BrightRunError, BudgetError, ConfigurationError, SpotInterrupted
from brightrun.following import Tick
from brightrun.jobs import JobRequest, Market
from brightrun.ledger import Ledger, Status
from brightrun.money import shown
from brightrun.outages import told
from brightrun.patience import train_patiently
from brightrun.presets import Hyperparameters
from brightrun.recovery import PAUSES_AFTER_LOSS
from brightrun.settings import Settings
from brightrun.specs import COPY_WISH, BaseModelRef, DataRef, JobSpec
from brightrun.volume import Plan

NO_FILE = "(none: an NF4 copy is made)"
PODS = 3  # a machine may be lost; what was fetched is on the volume


def begin(settings: Settings, ledger: Ledger, wanted: Plan, job_id: str, by: str) -> JobContext:
    """The job, planned; the one that an earlier call has left, where there is one.

    settings: with the volume's id. BudgetError: the month's money does not pay for it.
    """
    # One process, and nothing that a job's pods are told to do otherwise.
    settings = settings.model_copy(update={"processes": 1, "choices": ""})
    name = f"NF4 copy of {wanted.model.name} on {settings.volume}, {wanted.gpu}"[:120]
    for row in ledger.jobs(provider="runpod"):
        if row.name == name and row.training_file == NO_FILE and not row.at_rest:
            return JobContext(settings, ledger, row.job_id)
    usd, left = wanted.usd, ledger.budget_state(datetime.now(UTC)).left
    if left < usd["likely"]:
        raise BudgetError(
            f"{shown(max(Decimal(0), left))} of the month are left, the copy will likely cost "
            f"{shown(usd['likely'])}",
            fix="raise the month's budget: `brightrun budget raise USD --reason WHY`",
        )
    request = JobRequest(
        training_file=NO_FILE, provider="runpod", market=Market.on_demand, gpu=wanted.gpu,
        base_model=wanted.model.name, name=name, requested_by=by,
    )  # fmt: skip
    ledger.create_job(job_id, request)
    job = JobContext(settings, ledger, job_id)
    spec = spec_of(wanted.model, settings.threads)
    job.folder.write_json(
        COPY_WISH, {"folder": folder_of(wanted.model, wanted.gpu), "gpu": wanted.gpu}
    )
    job.folder.write_json(
        "estimate.json",
        {
            "price": {
                "usd_per_hour": float(wanted.usd_per_hour), "source": "RunPod's catalogue",
                "as_of": f"{datetime.now(UTC):%Y-%m-%d}",
            },
            "market": "on_demand",
            "stage_seconds": wanted.seconds,
            "cost_usd": {bound: float(amount) for bound, amount in usd.items()},
            "vram_gb": wanted.vram_gb,
        },
    )  # fmt: skip
    record = {"job_id": job_id, "spec_hash": spec.spec_hash()}
    job.folder.write_json("spec.json", {**record, "spec": spec.model_dump(mode="json")})
    ledger.update_job(job_id, hard_limit_usd=usd["high"], run_folder=job.folder.url)
    return job


def spec_of(model: BaseModelRef, threads: int) -> JobSpec:
    """Only the base model counts; nothing is trained."""
    nothing = DataRef(
        name="", source_sha256="", train_sha256="", validation_sha256="", train_conversations=0,
        validation_conversations=0, supervised_pairs=0, train_tokens=0, supervised_tokens=0,
    )  # fmt: skip
    return JobSpec(
        base_model=model, data=nothing, values=Hyperparameters(), plan_sha256="", threads=threads
    )


def folder_of(model: BaseModelRef, gpu: str) -> str:
    """In the pod's model cache, beside the weights that it is made of."""
    plain = "-".join("".join(c if c.isalnum() else " " for c in gpu.lower()).split())
    return f"{basemodels.key_of(model.name)}--nf4-{plain}"


def drive(job: JobContext, on_tick: Tick) -> dict[str, Any]:
    """Bring the job to its end; what the pod said in `_DONE`. The pod is gone afterwards."""
    me = driver_name()
    if not job.ledger.claim(job.job_id, me):
        raise ConfigurationError(
            f"job {job.job_id} is already driven by another process",
            fix=f"follow it with `brightrun watch {job.job_id}`",
        )
    try:
        job.ledger.update_job(job.job_id, status=Status.running)
        done = pod_after_pod(job, on_tick)
    except BaseException as error:
        found = told(error) if isinstance(error, Exception) else BrightRunError("stopped by hand")
        status = Status.failed if isinstance(error, Exception) else Status.cancelled
        job.ledger.end_job(job.job_id, status, found.as_dict())
        raise
    finally:
        job.ledger.release_claim(job.job_id, me)
    job.ledger.update_job(job.job_id, status=Status.completed)
    accounts.settle(job)
    return done


def pod_after_pod(job: JobContext, on_tick: Tick) -> dict[str, Any]:
    """As `tasks.pod.train` does it, with fewer pods."""
    for number in range(1, PODS + 1):
        try:
            return train_patiently(job, on_tick)
        except SpotInterrupted:
            if number == PODS:
                raise
        job.clock.sleep(PAUSES_AFTER_LOSS[min(number, len(PAUSES_AFTER_LOSS)) - 1])
    raise AssertionError


def register(job: JobContext, model: BaseModelRef, gpu: str, done: dict[str, Any]) -> Copy:
    """Write the copy into `volume_file`, where the next jobs find it."""
    settings = job.settings
    copy = Copy(
        model=model.name,
        revision=model.revision,
        sha256=model.sha256,
        volume=settings.volume,
        gpu=gpu,
        folder=done["folder"],
        manifest_sha256=done["manifest_sha256"],
        gigabytes=done["gigabytes"],
        job=job.job_id,
        made_at=datetime.now(UTC),
    )
    made = copies.read(settings.volume_file)
    if made is None or made.id != settings.volume:
        raise ConfigurationError(
            f"{settings.volume_file} does not name volume {settings.volume}",
            cause="it was changed while the copy was made",
            fix="run `brightrun setup volume` again: the copy on the volume is kept",
        )
    copies.write(settings.volume_file, copies.with_copy(made, copy))
    return copy
