"""The command that assesses a finished adapter again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_decide import finish, whoami
from flows.cli_judge import JudgeCap, JudgePrice
from flows.cli_train import own_files
from flows.options import Json, LmEval, OwnPrompts, OwnQuestions, OwnScenarios

if TYPE_CHECKING:
    from brightrun.context import JobContext

WEIGHTS = "adapter_model.safetensors"


def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="JOB|ADAPTER", help="Job id, or a folder with an adapter.")
    ],
    scenarios: OwnScenarios = "",
    questions: OwnQuestions = "",
    prompts: OwnPrompts = "",
    lm_eval: LmEval = "",
    beside: Annotated[
        list[str] | None,
        typer.Option(help="NAME=JOB or NAME=FOLDER: measured beside it. Repeatable."),
    ] = None,
    passes: Annotated[
        int | None, typer.Option(min=1, max=10, help="Answers per scenario and model.")
    ] = None,
    like: Annotated[
        str, typer.Option(help="For an adapter that no job here made: base model and data of JOB.")
    ] = "",
    judges: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            help="Judges the answers, new ones when they are there: openai:MODEL, anthropic:MODEL, "
            "or either with @BASE_URL. Repeatable.",
        ),
    ] = None,
    price: JudgePrice = "",
    max_usd: JudgeCap = 5.0,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Agree to the estimate if it is below the limits.")
    ] = False,
    json: Json = False,
) -> None:
    """Assess a finished adapter again; a pod only for what is not measured yet.

    Alone: verdicts and the next version of the report from what was measured, without a pod. With
    other scenarios, questions, prompts, lm-eval tasks or adapters: a job of its own that trains
    nothing.

    Examples: `brightrun evaluate 261122-ab12cd --prompts ours.txt`,
    `brightrun evaluate 261122-ab12cd --beside control=261120-99aa00`
    """
    from brightrun.assessments import Wish, request_of
    from brightrun.context import open_job
    from flows import lifecycle_ids, running
    from flows.judging import Terms, checked, judge_all
    from flows.terminal import say

    source, adapter = found(target, like)
    files = own_files(scenarios, questions, prompts, lm_eval)
    wish = Wish(**files, adapter=adapter, beside=tuple(beside or ()), passes=passes, by=whoami())
    terms = Terms(price=price, max_usd=max_usd)
    checked(source.settings, judges or [], terms)  # before a pod is paid for
    if wish == Wish(by=wish.by):
        if judges:
            judge_all(source, judges, terms)
        conclude_again(source, json)
        return
    request = request_of(source.request, source.job_id, wish)
    job_id = lifecycle_ids.new_job_id()
    say(f"Job {job_id}: assesses {source.job_id}", "bold")
    done = running.run(request, job_id, yes=yes)
    if judges and done["status"] == "completed":
        judge_all(open_job(job_id), judges, terms)
        conclude_again(open_job(job_id), json)
        return
    if judges:
        say(f"Nobody has judged: `brightrun evaluate {job_id} --judge ...` once it has completed")
    finish(done, json)


def found(target: str, like: str) -> tuple[JobContext, str]:
    """(the job whose base model and data count, another adapter's folder or "")."""
    from brightrun.context import open_job
    from brightrun.errors import EvaluationError
    from brightrun.ledger import Ledger
    from brightrun.runfolder import sha256_file
    from brightrun.settings import load

    folder = Path(target).expanduser()
    if not folder.is_dir():
        return open_job(target), ""
    if not (folder / WEIGHTS).is_file():
        raise EvaluationError(
            f"{target} holds no {WEIGHTS}", fix="give a job's id, or an adapter's folder"
        )
    made = sha256_file(folder / WEIGHTS)
    for row in Ledger.open(load()).jobs(None, adapter_sha256=made):
        if not row.request.get("assesses"):
            return open_job(row.job_id), ""
    if not like:
        raise EvaluationError(
            f"no job here made the adapter in {target} (sha256 {made[:12]})",
            cause="its base model and held-out conversations are not known",
            fix="add --like JOB: a job with its base model, whose held-out conversations count",
        )
    return open_job(like), str(folder.resolve())


def conclude_again(source: JobContext, as_json: bool) -> None:
    """Verdicts and the next report from the run folder, without a pod."""
    from flows.outcome import show_verdicts
    from flows.reassessing import reassess
    from flows.terminal import emit, say

    done = reassess(source, by=whoami())
    verdicts = [v.model_dump(mode="json") for v in done.evaluation.verdicts]
    if as_json:
        emit({"job_id": source.job_id, "report_html": str(done.html), "verdicts": verdicts})
        return
    show_verdicts(verdicts)
    say(f"Report {done.report.version}: {done.html}")
