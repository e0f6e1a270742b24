"""Gather report.json's content from ledger and run folder: facts only, no judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from brightrun import __version__
from brightrun.accounts import losses_of, reckoning_of, starts_of
from brightrun.context import JobContext
from brightrun.counting import count
from brightrun.errors import ReportError
from brightrun.jobs import Hyperparameters, JobRequest, JobSpec, Preset, preset_of
from brightrun.ledger_rows import EventRow
from brightrun.losses import successions
from brightrun.progress import Progress
from brightrun.starts import Start
from brightrun.verdicts import CurvePoint, Evaluation, Interruption, ReportData, Table
from reports import libraries, moneywords
from reports.formats import times

LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes")  # of the pod
# Warnings of a pod whose results may differ from an unbroken run's in the last bits.
INEXACT = ("inexact_resume", "out_of_memory")


def collect(
    job: JobContext, evaluation: Evaluation, before: ReportData | None = None
) -> ReportData:
    """Everything a report says about a job; StorageError when a finished stage left no files.

    before: the job's first report. What it knew of the machine and the moment stays as it was.
    """
    row, spec, now = job.ledger.job(job.job_id), job.spec, datetime.now(UTC)
    estimate: dict[str, Any] = job.folder.read_json("estimate.json")
    done = job.progress()
    attempts = job.ledger.attempts(job.job_id)
    seconds = sum((a.ended_at - a.launched_at).total_seconds() for a in attempts if a.ended_at)
    found = reckoning_of(job, now)
    if found is None:
        raise ReportError(f"job {job.job_id} has no pods and no estimate in the ledger")
    gate = job.folder.read_json("gate.json")
    spread = estimate["cost_usd"]
    return ReportData(
        job_id=job.job_id,
        name=row.name,
        client=row.client,
        requested_by=row.requested_by,
        approved_by=gate["by"] if gate.get("how") == "approved" else "",
        confirmed_by=gate["by"] if gate.get("how") == "confirmed" else "",
        created_at=row.created_at,
        finished_at=before.finished_at if before else now,
        preset=row.preset,
        training_file=spec.data.name,
        meaningful=spec.base_model.meaningful and not job.request.smoke,
        smoke=job.request.smoke,
        spec=spec.model_dump(mode="json"),
        spec_hash=spec.spec_hash(),
        evaluation=evaluation,
        curve=curve(job),
        interruptions=interruptions(job),
        dataset=dataset(job, evaluation.foreign),
        cost=moneywords.cost_table(found),
        cost_usd=float(found.actual_usd),
        cost_off=found.off,
        estimate_usd=(spread["low"], spread["likely"], spread["high"]),
        hours=seconds / 3600,
        price=estimate["price"],
        stages=stage_table(done, starts_of(job)),
        cuts=cuts(spec, evaluation.foreign),
        provenance=before.provenance if before else provenance(job, evaluation.foreign),
        reproduce=reproduce(job),
        next_command=f"brightrun rate export {job.job_id} --raters 3",
    )


def curve(job: JobContext) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            step=m.step,
            epoch=m.epoch or 0.0,
            loss=m.loss,
            learning_rate=m.learning_rate or 0.0,
            validation_loss=m.validation_loss,
        )
        for m in job.ledger.metrics(job.job_id)
        if m.loss is not None
    )


def interruptions(job: JobContext) -> tuple[Interruption, ...]:
    """One per attempt that was interrupted and followed by another."""
    known = {loss.attempt: loss for loss in losses_of(job)}
    found = []
    for ended, following in successions(job.ledger.attempts(job.job_id)):
        loss = known.get(ended.number)
        found.append(
            Interruption(
                attempt=ended.number,
                killed_at=ended.last_step or 0,
                resumed_from=following.resumed_from or 0,
                reason=ended.outcome,
                seconds_lost=loss.seconds if loss else None,
                usd_lost=float(loss.usd) if loss else None,
            )
        )
    return tuple(found)


def dataset(job: JobContext, foreign: bool = False) -> Table:
    """foreign: the adapter was trained elsewhere; of the file only the held-out part was used."""
    data = job.spec.data
    facts = job.folder.read_json("data/manifest.json")
    rows = (
        ("Conversations trained on", data.train_conversations),
        ("Conversations held out", data.validation_conversations),
        ("Supervised answers trained on", data.supervised_pairs),
        ("Tokens per epoch", data.train_tokens),
        ("Supervised tokens per epoch", data.supervised_tokens),
        ("Held-out supervised tokens", facts["validation_supervised_tokens"]),
    )
    if foreign:
        held = tuple(row for row in rows if "held" in row[0].lower())
        return Table(columns=("What", "Count"), rows=held, caption=f"Tested on part of {data.name}")
    return Table(columns=("What", "Count"), rows=rows, caption=f"Training file {data.name}")


def stage_table(done: Progress, begun: Sequence[Start]) -> Table:
    """Estimated and actual seconds; the caption says how the first pod came to its first step.

    What is not over yet has no actual seconds: the report is written before it is packed.
    """
    rows = tuple(
        (s.name, round(s.expected_s, 1), round(s.elapsed_s, 1) if s.status == "finished" else None)
        for s in done.stages
    )
    caption = "Time by stage"
    if begun:
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in begun[0].parts.items())
        caption += f". The first pod made its first step after {begun[0].total_s:.1f} s: {parts}"
    return Table(columns=("Stage", "Estimated s", "Actual s"), rows=rows, caption=caption)


def training_cuts(spec: JobSpec, full: Hyperparameters) -> list[str]:
    """What the training left out."""
    values, said = spec.values, []
    if values.epochs < full.epochs:
        said.append(
            f"Trained for {count(values.epochs, 'epoch')}; a delivery run trains for {full.epochs}."
        )
    if values.pairs_per_step < full.pairs_per_step:
        said.append(
            f"Each step learned from about {count(values.pairs_per_step, 'answer')}; a delivery "
            f"run takes {full.pairs_per_step}."
        )
    if values.lora_dropout < full.lora_dropout:
        said.append(
            f"Trained with dropout {values.lora_dropout:g}; a delivery run uses "
            f"{full.lora_dropout:g} against memorising."
        )
    if values.eval_points < full.eval_points:
        said.append(
            f"Looked at the held-out loss {times(values.eval_points)} in training; a delivery run "
            f"does {full.eval_points} times."
        )
    if values.max_length < full.max_length:
        said.append(
            f"Accepted conversations of up to {values.max_length:,} tokens; a delivery run "
            f"accepts {full.max_length:,}. None was cut."
        )
    return said


def cuts(spec: JobSpec, foreign: bool = False) -> tuple[str, ...]:
    """What this run left out, measured against the delivery preset `balanced`. Pure."""
    values, full = spec.values, preset_of(Preset.balanced).values
    said = [] if foreign else training_cuts(spec, full)
    if values.scenarios < full.scenarios:
        said.append(f"Answered {values.scenarios} of {full.scenarios} scenarios.")
    if values.passes < full.passes:
        said.append(
            f"Wrote {count(values.passes, 'answer')} to each scenario with each model; a delivery "
            f"run writes {full.passes}, so that no single one decides."
        )
    if values.questions < full.questions:
        said.append(f"Asked {values.questions} of {full.questions} knowledge questions.")
    if values.rotations < full.rotations:
        said.append(
            f"Asked each question in {values.rotations} of {full.rotations} option orders, "
            "so a habit of picking one letter is not averaged out."
        )
    if values.quick:
        said.append(
            "Read no option as a whole answer, no training conversation again for the feedback on "
            "the data, and only some of the neutral texts."
        )
    if values.golden_prompts < full.golden_prompts:
        said.append(
            f"Made {count(values.golden_prompts, 'answer')} to check the package by; a delivery "
            f"run makes {full.golden_prompts}."
        )
    if values.max_new_tokens < full.max_new_tokens:
        said.append(
            f"Cut answers at {values.max_new_tokens} tokens; a delivery run allows "
            f"{full.max_new_tokens}."
        )
    if not foreign and not spec.base_model.name.lower().startswith("meta-llama/"):
        said.append(f"Trained {spec.base_model.name}, a small stand-in for Llama 3 70B.")
    return tuple(said)


def provenance(job: JobContext, foreign: bool = False) -> dict[str, str]:
    """Hashes, versions, seed and threads: what someone needs to get the same result."""
    spec = job.spec
    return {
        "Pipeline": __version__,
        "Base model": spec.base_model.name,
        "Base model revision": spec.base_model.revision,
        "Base model sha256": spec.base_model.sha256,
        "Training file sha256": spec.data.source_sha256,
        "Training split sha256": spec.data.train_sha256,
        "Held-out split sha256": spec.data.validation_sha256,
        "Measuring plan sha256": spec.plan_sha256,
        "Spec sha256": spec.spec_hash(),
        "Adapter sha256": job.ledger.job(job.job_id).adapter_sha256,
        "Seed": str(spec.values.seed),
        "Threads": str(spec.threads),
        "Exactness": "not known of an adapter from elsewhere"
        if foreign
        else exactness(job.ledger.events(job.job_id, type="warning")),
        **libraries.versions(LIBRARIES, libraries.told(job.folder)),
        "prefect": version("prefect"),
    }


def exactness(warnings: Iterable[EventRow]) -> str:
    """Whether the adapter is bit for bit that of an unbroken run, and if not, why not. Pure."""
    said = (event.payload for event in warnings)
    why = {str(w["message"]): None for w in said if w.get("code") in INEXACT}
    return "; ".join(why) or "bit for bit that of a run without interruptions"


def reproduce(job: JobContext) -> str:
    """A command that runs the same spec again."""
    request = job.request
    if request.assesses:
        return assessed_again(request)
    changes = request.overrides.model_dump(exclude_none=True)
    sets = "".join(f" --set {key}={value}" for key, value in changes.items())
    model = f" --base-model {request.base_model}" if request.base_model else ""
    # The name alone: a report must not carry a path of the machine that made it.
    file = PurePath(request.training_file).name
    if request.smoke:
        sets += " --smoke"
    if request.quality_min is not None:
        sets += f" --quality-min {request.quality_min:g}"
    return f"brightrun train {file} --preset {request.preset}{model}{sets}"


def assessed_again(request: JobRequest) -> str:
    """The command of an assessment; files by their names alone."""
    files = {
        "scenarios": request.scenarios_file,
        "questions": request.questions_file,
        "prompts": request.prompts_file,
    }
    given = "".join(f" --{name} {PurePath(file).name}" for name, file in files.items() if file)
    if request.lm_eval_tasks:
        tasks = (PurePath(task.strip()).name for task in request.lm_eval_tasks.split(","))
        given += f" --lm-eval {','.join(tasks)}"
    for pair in request.beside:
        name, _, place = pair.partition("=")
        given += f" --beside {name}={PurePath(place).name}"
    passes = request.overrides.model_dump().get("passes")
    if passes is not None:
        given += f" --passes {passes}"
    if request.adapter:
        given = f" --like {request.assesses}{given}"
    return f"brightrun evaluate {PurePath(request.adapter or request.assesses).name}{given}"
