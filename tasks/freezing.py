"""What a job trains on and is measured with: read, judged, frozen. No Prefect here: it runs in a
process of its own (`tasks.apart`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from brightrun import baselines, basemodels, copies, prices, proof
from brightrun.context import JobContext
from brightrun.conversations import FileReport
from brightrun.counting import count
from brightrun.errors import ConfigurationError, DatasetError
from brightrun.jobs import BaseModelRef, DataRef, JobSpec
from brightrun.tokens import ChatTokenizer
from evals.own import Asked, asked
from evals.plan import PLAN, make_plan
from expectations.snapshot import fault_of, snapshot
from expectations.validation import validate_file

SHOWN = 20
# A sentence for the job's story, and True for a warning.
Tell = Callable[[str, bool], None]


def base_model_name(job: JobContext) -> str:
    """What was asked for, else the provider's default."""
    return basemodels.chosen(job.request.base_model, job.request.provider, job.settings)


def tokenizer_of(job: JobContext) -> ChatTokenizer:
    return ChatTokenizer.load(basemodels.prepared_folder(base_model_name(job), job.settings.models))


def warn_unproven(job: JobContext, tokenizer: ChatTokenizer, tell: Tell) -> None:
    """Said before anything is paid for: nothing shows that our template is the model's."""
    if said := proof.unproven(tokenizer):
        told = ConfigurationError(said, fault="template_unproven")
        job.note("warning", {**told.as_dict(), "code": told.fault})
        tell(str(told), True)


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


def frozen_spec(job: JobContext, tell: Tell) -> JobSpec:
    """Writes data/ and plan/ and returns the spec that pins both by hash."""
    reference = with_copy(job, basemodels.resolve(base_model_name(job), job.settings.models))
    report, values = stored_report(job), job.request.values
    values = values.model_copy(update={"max_length": min(values.max_length, reference.context)})
    tokenizer = tokenizer_of(job)
    warn_unproven(job, tokenizer, tell)
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
    refuse_contaminated(job, tested, tell)
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
        tell(f"Baseline {kind}: {found['rows']} rows of job {found['job']} are used again", False)
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


def refuse_contaminated(job: JobContext, tested: Asked, tell: Tell) -> None:
    """contamination.json; DatasetError when what is tested stands in what is trained on."""
    from evals import contamination  # scipy

    items = contamination.items_of(tested.scenarios, tested.questions)
    found = contamination.check(items, lambda: contamination.turns_of(job.folder))
    job.folder.write_json(contamination.PLACE, found.as_json())
    tell(found.sentence(), False)
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
