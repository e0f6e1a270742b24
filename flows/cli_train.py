"""The command that runs a job: train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import ConfigurationError, UsageError
from flows.cli_decide import finish, whoami
from flows.options import (
    BaseModel,
    Gpu,
    Json,
    LmEval,
    MarketOption,
    NeededBy,
    OwnPrompts,
    OwnQuestions,
    OwnScenarios,
    PresetOption,
    Provider,
    QualityMin,
    Sets,
    overrides_of,
)

if TYPE_CHECKING:
    from brightrun.conversations import FileReport
    from brightrun.jobs import JobRequest


# What may stand beside --resume; every other option is part of the job as it was planned.
BESIDE_RESUME = ("resume", "detach", "yes", "json")


def train(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="Registered name or path. Not with --resume.", show_default=False)
    ] = "",
    preset: PresetOption = "balanced",
    provider: Provider = "local",
    gpu: Gpu = "",
    market: MarketOption = "spot",
    needed_by: NeededBy = None,
    base_model: BaseModel = "",
    name: Annotated[str, typer.Option(help="Name of this run.")] = "",
    client: Annotated[str, typer.Option(help="Who it is made for.")] = "",
    notes: Annotated[str, typer.Option(help="Why this run.")] = "",
    requested_by: Annotated[
        str, typer.Option(help="Who asks. Default: git's user.name or the system's user.")
    ] = "",
    set_: Sets = None,
    scenarios: OwnScenarios = "",
    questions: OwnQuestions = "",
    prompts: OwnPrompts = "",
    lm_eval: LmEval = "",
    quality_min: QualityMin = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Try the whole path first: 2 conversations, 2 steps, at most $1."
        ),
    ] = False,
    interrupt_at: Annotated[
        str, typer.Option(help="STEP[,STEP]: attempt k's pod kills itself after the k-th step.")
    ] = "",
    resume: Annotated[str, typer.Option(help="Go on with this job instead.")] = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit to the deployment (`make ui`) and return.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Agree to the estimate if it is below the limits.")
    ] = False,
    json: Json = False,
) -> None:
    """Train, measure, report, package: the whole job, here in the foreground.

    Shows the estimate and asks before anything is spent. `--yes` answers, but never passes an
    approval above the limits: that takes `brightrun approve`.

    Examples: `brightrun train examples/training-file.json --preset demo --yes`,
    `brightrun train --resume 261122-ab12cd`
    """
    from flows import running
    from flows.terminal import emit, say

    if bool(file) == bool(resume):
        raise typer.BadParameter("give a training file, or --resume JOB, not both")
    if resume:
        only_resume(context)
        job_id, request = resumed(resume)
    else:
        request = wish(
            training_file=file, preset=preset, provider=provider, gpu=gpu, market=market,
            base_model=base_model, name=name, client=client, notes=notes,
            requested_by=requested_by or whoami(), overrides=overrides_of(set_),
            quality_min=quality_min, interrupt_at=steps_of(interrupt_at),
            needed_by=needed_by.astimezone() if needed_by else None,
            **own_files(scenarios, questions, prompts, lm_eval), smoke=smoke, yes=yes,
        )  # fmt: skip
        job_id = begin(request, json, detach=detach)
    if resume:
        say(f"Job {job_id}", "bold")
    if detach:
        emit(running.submit(request, job_id))
        return
    known = completed(job_id) if resume else None
    finish(known or running.run(request, job_id, yes=yes), json)


def only_resume(context: typer.Context) -> None:
    """BadParameter names every option that would change a job which is already planned."""
    sources = {p: context.get_parameter_source(str(p.name)) for p in context.command.params}
    typed = [p for p, source in sources.items() if source and source.name == "COMMANDLINE"]
    given = [p.opts[0] for p in typed if p.name not in BESIDE_RESUME]
    if given:
        raise typer.BadParameter(
            f"{', '.join(given)} cannot stand beside --resume: a job goes on with what it was "
            "planned with; start a new job to change it"
        )


def wish(*, yes: bool, **given: Any) -> JobRequest:
    """The request as a value; UsageError lists every field that is out of range."""
    from pydantic import ValidationError

    from brightrun.jobs import Confirm, JobRequest, apply_overrides, preset_of

    apply_overrides(preset_of(given["preset"]).values, given["overrides"])
    path = Path(given["training_file"])
    if path.is_file():
        given["training_file"] = str(path.resolve())
    try:
        request = JobRequest.model_validate(
            {
                **given,
                "confirm": Confirm.above_limits if yes else Confirm.always,
                "repeat": yes,
            }
        )
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise UsageError(found, fix="see `brightrun train --help`") from None
    return request


def own_files(scenarios: str, questions: str, prompts: str, lm_eval: str) -> dict[str, str]:
    """The fields of a request: a client's own files (checked, absolute, "" for ours); tasks."""
    given = {
        "scenarios": scenarios, "questions": questions, "prompts": prompts, "lm_eval": lm_eval,
    }  # fmt: skip
    if any(given.values()):
        from evals.own import asked

        asked(1, 1, given)
    tasks = [name.strip() for name in lm_eval.split(",")]
    named = [placed(task) if Path(task).expanduser().is_file() else task for task in tasks]
    return {
        "scenarios_file": placed(scenarios),
        "questions_file": placed(questions),
        "prompts_file": placed(prompts),
        "lm_eval_tasks": ",".join(named),
    }


def placed(path: str) -> str:
    """Absolute; "" stays what it is."""
    return str(Path(path).expanduser().resolve()) if path else ""


def begin(request: JobRequest, as_json: bool, *, detach: bool, about: str = "") -> str:
    """The new job's id, told as soon as nothing is known that keeps it from being a job.

    What cannot become a job ends here, and nothing was written but the cache of base models: a file
    with defects, a provider that cannot rent, a GPU without a price or one that this machine lacks,
    an absent base model, with
    `detach` no server. Tokens are counted exactly: the model is prepared when the file is otherwise
    good.
    """
    from brightrun import basemodels, ownmachine, prices
    from brightrun.compute import provider_of
    from brightrun.preparing import prepare_offline
    from brightrun.settings import load
    from flows import lifecycle_ids, running
    from flows.terminal import say

    settings = load()
    if detach:
        running.server_for(settings)
    prices.gpu_name(request.gpu, request.provider)
    ownmachine.require(request.provider, request.gpu)
    provider_of(request.provider, settings)
    report = must_be_valid(request, as_json)
    if not report.tokens_exact:
        say("Preparing the base model (once per machine)")
        name = basemodels.chosen(request.base_model, request.provider, settings)
        prepare_offline(name, settings.models)
        must_be_valid(request, as_json, only_tokens=True)
    job_id = lifecycle_ids.new_job_id()
    say(f"Job {job_id}{about}", "bold")
    return job_id


def must_be_valid(request: JobRequest, as_json: bool, *, only_tokens: bool = False) -> FileReport:
    """The file's report; Exit 1 after its defects were shown.

    only_tokens: it was examined before, and its tokens are counted exactly now.
    """
    from flows.checking import checked, examined, show_report

    asked: dict[str, Any] = {
        "quality_min": request.quality_min,
        "max_length": request.values.max_length,
        "too_long": request.values.too_long,
        "base_model": request.base_model,
        "provider": request.provider,
    }
    file = Path(request.training_file)
    if only_tokens:
        report, close = checked(file, **asked), None
    else:
        report, close = examined(file, **asked, tested_with=request.tested_with)
    if not report.valid:
        show_report(report, as_json, close)
        raise typer.Exit(1)
    return report


def resumed(job: str) -> tuple[str, JobRequest]:
    """An earlier job and its request; that it shall go on is written down."""
    from brightrun import goingon
    from brightrun.context import open_job
    from brightrun.ledger import Status

    known = open_job(job)
    row = known.ledger.job(known.job_id)
    if row.status == Status.rejected:
        raise ConfigurationError(
            f"job {known.job_id} was rejected at the gate", fix="start a new one"
        )
    if row.status != Status.completed:
        goingon.ask(known.folder)
    return known.job_id, known.request


def completed(job_id: str) -> dict[str, Any] | None:
    """The result of a job that has nothing left to do."""
    from flows.outcome import summary

    found = summary(job_id)
    return found if found["status"] == "completed" else None


def steps_of(text: str) -> tuple[int, ...]:
    """ "12,30" -> (12, 30)."""
    try:
        steps = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(
            f"--interrupt-at {text!r}: give step numbers, e.g. 12,30"
        ) from None
    if any(step < 1 for step in steps):
        raise typer.BadParameter("--interrupt-at: steps start at 1")
    return steps
