"""Check the training file, freeze what will be run and measured."""

from __future__ import annotations

import json
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import baselines, basemodels, copies, prices, proof, smoke
from brightrun.compute import provider_of
from brightrun.context import JobContext, open_job
from brightrun.conversations import FileReport
from brightrun.counting import count
from brightrun.errors import ConfigurationError, DatasetError
from brightrun.jobs import BaseModelRef, DataRef, JobSpec
from brightrun.preparing import prepare_offline
from brightrun.tokens import ChatTokenizer
from brightrun.verdicts import Table
from evals import contamination
from evals.own import Asked, asked
from evals.plan import PLAN, make_plan
from expectations.dataset_report import dataset_tables
from expectations.snapshot import fault_of, snapshot
from expectations.validation import validate_file
from reports import cards
from tasks import artifacts, story

SHOWN = 20


@task(name="prepare base model", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=2)
def prepare(job_id: str) -> None:
    """Make the base model's folder, once per machine; the trainer does it as its own process.

    What is not on this machine is not fetched: that is for `make setup` and the prepare command.
    """
    job = open_job(job_id)
    provider_of(job.request.provider, job.settings)  # one that cannot rent ends here, unpaid
    prepare_offline(base_model_name(job), job.settings.models)


@task(name="validate", cache_policy=NO_CACHE)
def validate(job_id: str) -> None:
    """All defects at once; a broken file ends the job here."""
    job = open_job(job_id)
    if job.folder.exists("validation.json"):
        # Another flow run goes on with the job: its page shows the file too.
        show(dataset_tables(stored_report(job)))
        return
    with job.stage("validate", "validating"):
        report = read_file(job)
        if not report.valid:
            raise dataset_error(report)
        table = dataset_tables(report)
        if job.request.smoke:
            report = smoke.sample(report)
        job.folder.write_json("validation.json", json.loads(report.model_dump_json()))
    show(table)


def show(table: Table) -> None:
    artifacts.publish("dataset", cards.dataset(table), "What is in the training file")


@task(name="plan", cache_policy=NO_CACHE)
def plan(job_id: str) -> str:
    """Snapshot, split, measuring plan, frozen spec; returns the spec's hash."""
    job = open_job(job_id)
    if job.folder.exists("spec.json"):
        return job.spec.spec_hash()
    with job.stage("plan", "validating"):
        spec = frozen_spec(job)
        job.folder.write_json(
            "spec.json",
            {
                "job_id": job_id,
                "spec_hash": spec.spec_hash(),
                "spec": spec.model_dump(mode="json"),
            },
        )
        job.ledger.update_job(job_id, spec_hash=spec.spec_hash(), spec=spec.model_dump(mode="json"))
    return spec.spec_hash()


def base_model_name(job: JobContext) -> str:
    """What was asked for, else the provider's default."""
    return basemodels.chosen(job.request.base_model, job.request.provider, job.settings)


def tokenizer_of(job: JobContext) -> ChatTokenizer:
    return ChatTokenizer.load(basemodels.prepared_folder(base_model_name(job), job.settings.models))


def warn_unproven(job: JobContext, tokenizer: ChatTokenizer) -> None:
    """Said before anything is paid for: nothing shows that our template is the model's."""
    if said := proof.unproven(tokenizer):
        told = ConfigurationError(said, fault="template_unproven")
        job.note("warning", {**told.as_dict(), "code": told.fault})
        story.tell(str(told), story.WARNING)


def source_file(job: JobContext) -> Path:
    """The registered file of that name, or the path itself."""
    wish = job.request.training_file
    known = job.ledger.file(wish)
    return Path(known.path if known is not None else wish).expanduser()


def read_file(job: JobContext) -> FileReport:
    reference = basemodels.resolve(base_model_name(job), job.settings.models)
    return validate_file(
        source_file(job),
        tokenizer=tokenizer_of(job),
        max_length=min(job.request.values.max_length, reference.context),
        context=reference.context,
        too_long=job.request.values.too_long,
        quality_min=job.request.quality_min,
        max_json_gb=job.settings.max_json_gb,
    )


def stored_report(job: JobContext) -> FileReport:
    return FileReport.model_validate(job.folder.read_json("validation.json"))


def frozen_spec(job: JobContext) -> JobSpec:
    """Writes data/ and plan/ and returns the spec that pins both by hash."""
    reference = with_copy(job, basemodels.resolve(base_model_name(job), job.settings.models))
    report, values = stored_report(job), job.request.values
    values = values.model_copy(update={"max_length": min(values.max_length, reference.context)})
    tokenizer = tokenizer_of(job)
    warn_unproven(job, tokenizer)
    data = snapshot(
        source_file(job),
        report,
        job.folder,
        values,
        tokenizer=tokenizer,
        quality_min=job.request.quality_min,
        only=frozenset(row.index for row in report.rows) if job.request.smoke else None,
    )
    tested = tested_with(job)
    values = values.model_copy(
        update={"scenarios": len(tested.scenarios), "questions": len(tested.questions)}
    )
    refuse_contaminated(job, tested)
    tested.write(job.folder)
    plan_sha256 = make_plan(values, report.system_prompt, tested=tested).write(job.folder)
    spec = JobSpec(
        base_model=reference,
        data=DataRef(
            name=report.name,
            source_sha256=data["source_sha256"],
            train_sha256=data["files"]["train.jsonl"]["sha256"],
            validation_sha256=data["files"]["validation.jsonl"]["sha256"],
            train_conversations=data["train_conversations"],
            train_sequences=data["train_sequences"],
            validation_conversations=data["validation_conversations"],
            supervised_pairs=data["supervised_pairs"],
            train_tokens=data["train_tokens"],
            supervised_tokens=data["supervised_tokens"],
        ),
        values=values,
        plan_sha256=plan_sha256,
        threads=job.settings.threads,
    )
    for kind, found in baselines.lay_out(job.folder, spec, job.folder.read_json(PLAN)).items():
        story.tell(f"Baseline {kind}: {found['rows']} rows of job {found['job']} are used again")
    return spec


def with_copy(job: JobContext, reference: BaseModelRef) -> BaseModelRef:
    """With the NF4 copy on the pods' volume, where one fits; the reason is an event."""
    reference = reference.model_copy(update={"quantised": None})
    if job.request.provider != "runpod":
        return reference
    settings, wish = job.settings, job.request
    made = copies.read(settings.volume_file)
    taken = copies.choose(
        reference, wish.values.precision, prices.gpu_name(wish.gpu, wish.provider),
        settings.volume, made.copies if made else (), copies.asked_of(settings.choices),
    )  # fmt: skip
    if taken.reason:
        job.note("choice", {"message": taken.reason})
    return reference.model_copy(update={"quantised": taken.quantised})


def tested_with(job: JobContext) -> Asked:
    """Ours, or what the client brought; EvaluationError says where a file is wrong."""
    values = job.request.values
    return asked(values.scenarios, values.questions, job.request.tested_with)


def refuse_contaminated(job: JobContext, tested: Asked) -> None:
    """contamination.json; DatasetError when what is tested stands in what is trained on."""
    items = contamination.items_of(tested.scenarios, tested.questions)
    found = contamination.check(items, lambda: contamination.turns_of(job.folder))
    job.folder.write_json(contamination.PLACE, found.as_json())
    story.tell(found.sentence())
    found.refuse()


def dataset_error(report: FileReport) -> DatasetError:
    """The first defects in full, the number of all."""
    shown = "\n".join(f"  {d.message}.\n    Fix: {d.fix}" for d in report.errors[:SHOWN])
    more = len(report.errors) - SHOWN
    tail = f"\n  ... and {more} more: `brightrun validate {report.path}`" if more > 0 else ""
    return DatasetError(
        f"{report.name} has {count(len(report.errors), 'defect')}:\n{shown}{tail}",
        fix="mend the file and start the job again; nothing was spent",
        fault=fault_of(report),
    )
