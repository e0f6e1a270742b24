"""A night's steps: which file is trained, whether its adapter goes on, what the morning reads."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import ValidationError

from brightrun import (
    basemodels,
    nightalarm,
    nightly,
    nightreport,
    pricing,
    quotes,
    successors,
)
from brightrun.adapters import Stage
from brightrun.context import open_job
from brightrun.conversations import FileReport
from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.jobs import Confirm, JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.nightly import Decision, NightFile
from brightrun.posting import post
from brightrun.runfolder import sha256_file
from brightrun.settings import Settings, load
from brightrun.tokens import ChatTokenizer
from expectations.validation import validate_file
from tasks import artifacts, story

SHOWN = 3
LONGEST = 100  # letters of a file's name in its job's


@task(name="begin night", cache_policy=NO_CACHE)
def begin(now: datetime | None = None, again: bool = False) -> str:
    """The night that is due, claimed; "" when it was begun before or no template is set.

    One that broke off is gone through again.
    """
    settings, moment = load(), now or datetime.now(UTC)
    if not settings.nightly_template:
        story.tell("No nightly training: BRIGHTRUN_NIGHTLY_TEMPLATE names no template")
        return ""
    ledger = Ledger.open(settings)
    last = ledger.last_nights(1)
    night = nightly.due(moment, time.fromisoformat(settings.nightly_at), settings.zone)
    missed = nightly.nights_between(last[0].night if last else None, night)
    broken = {row.night for row in nightalarm.broken_off(ledger, datetime.now(UTC))}
    if not ledger.begin_night(night, moment, again=again or night in broken):
        story.tell(f"The night of {night} was begun before; --again repeats it")
        return ""
    if missed:
        story.tell(
            f"{missed} earlier nights were missed; this one makes up for them", story.WARNING
        )
    return night


@task(name="look at file", task_run_name="look at {name}", cache_policy=NO_CACHE)
def look(night: str, name: str) -> Decision:
    """Whether this file is trained tonight; what is wrong with one file is told, never raised."""
    settings = load()
    ledger = Ledger.open(settings)
    try:
        file = file_tonight(ledger, settings, night, name)
    except (BrightRunError, OSError) as error:
        return Decision(name=name, action="broken", why=str(error).split("\n")[0])
    spent = ledger.night_cost(night, datetime.now(UTC))
    found = nightly.decide(file, settings.nightly_budget_usd - spent)
    story.tell(f"{name}: {found.action}, {found.why}")
    return found


def file_tonight(ledger: Ledger, settings: Settings, night: str, name: str) -> NightFile:
    """Content, defects and price are looked at only as far as they can matter."""
    row = ledger.file(name)
    if row is None:
        raise ConfigurationError(f"no file is registered as {name!r}")
    path = Path(row.path)
    content = sha256_file(path) if path.is_file() else ""
    trained = ledger.trained_on(name, row.path)
    waits = ledger.not_ended(name, row.path, content)
    if not content or content == trained or waits:
        return NightFile(name=name, sha256=content, trained=trained, waits=waits)
    request = request_of(ledger, settings, night, name)
    report = report_of(path, request, settings)
    defects = tuple(defect.message for defect in report.errors[:SHOWN])
    high = None if defects else price(report, request, ledger, settings)
    return NightFile(name=name, sha256=content, trained=trained, defects=defects, high_usd=high)


def request_of(ledger: Ledger, settings: Settings, night: str, name: str) -> JobRequest:
    """The template's wish for this file and the file's own client, whoever the template's is.

    ConfigurationError: no such template, or a bad one.
    """
    template = ledger.template(settings.nightly_template)
    if template is None:
        raise ConfigurationError(
            f"there is no template {settings.nightly_template!r}",
            fix="save it: brightrun template save NAME --from JOB",
        )
    wish = JobRequest(
        training_file=name,
        confirm=Confirm.above_limits,
        requested_by=nightly.BY,
        name=f"{name[:LONGEST]} {night}",
        notes=nightly.note(night),
    )
    row = ledger.file(name)
    client = ledger.client_of_file(name, name if row is None else row.path)
    try:
        return wish.filled({**template.request, "client": client})
    except ValidationError as error:
        raise ConfigurationError(
            f"template {template.name!r} cannot be used for {name}: {error.errors()[0]['msg']}",
            fix=f"save it again: brightrun template save {template.name} --from JOB",
        ) from None


def report_of(path: Path, request: JobRequest, settings: Settings) -> FileReport:
    """The file as its base model sees it."""
    model = basemodels.chosen(request.base_model, request.provider, settings)
    tokenizer = None
    if basemodels.is_prepared(model, settings.models):
        tokenizer = ChatTokenizer.load(basemodels.prepared_folder(model, settings.models))
    longest = request.values.max_length
    return validate_file(
        path,
        tokenizer=tokenizer,
        max_length=min(longest, basemodels.context_of(model, settings.models) or longest),
        context=basemodels.context_of(model, settings.models),
        too_long=request.values.too_long,
        quality_min=request.quality_min,
        max_json_gb=settings.max_json_gb,
    )


def price(report: FileReport, request: JobRequest, ledger: Ledger, settings: Settings) -> Decimal:
    """The high end of what this job may cost."""
    model = quotes.model_for(request.base_model, request.provider, settings)
    found = pricing.priced(
        quotes.work_of(report, request.values),
        request.values,
        model,
        preset=request.preset,
        provider=request.provider,
        gpu=request.gpu,
        market=request.market,
        settings=settings,
        ledger=ledger,
        budget_left=None,
    )
    return found.estimate.cost_usd.high


@task(name="judge adapter", cache_policy=NO_CACHE)
def judge(name: str, night: str, job_id: str) -> dict[str, Any]:
    """How the job ended, and where its adapter goes: into production only when it is not worse."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    usd = float(job.ledger.cost_so_far(job_id, datetime.now(UTC)))
    said: dict[str, Any] = {"name": name, "job_id": job_id, "usd": usd, "status": str(row.status)}
    if row.status != Status.completed:
        why = (row.error or {}).get("message", f"it is {row.status}")
        return {**said, "action": str(row.status), "why": str(why).split("\n")[0]}
    present = job.ledger.in_production(name)
    stage, why = Stage.testing, "nothing is in production that it could be compared with"
    if present is not None:
        new, old = (job.ledger.evaluation(i) for i in (job_id, present.job_id))
        found = successors.compare(new.verdicts if new else (), old.verdicts if old else ())
        stage, why = (Stage.production if found.promotes else Stage.testing), str(found)
        said["compared_with"] = present.job_id
    job.ledger.move_adapter(job_id, stage, by=f"{nightly.BY} {night}", reason=why)
    return {**said, "action": "trained", "stage": stage.value, "why": why}


@task(name="end night", cache_policy=NO_CACHE)
def close(night: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    """The morning's report: kept, shown on the run's page, sent to people."""
    settings = load()
    ledger, report = Ledger.open(settings), nightreport.report(night, files)
    ledger.end_night(night, report, datetime.now(UTC))
    artifacts.table("nightly", nightreport.rows(report), nightreport.title(report))
    for problem in post(ledger, nightreport.message(report)):
        story.tell(f"The morning's report was not delivered: {problem}", story.WARNING)
    return report
