"""A job's beginning and end around the flow: claim, failure, release, summary."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, suspend_flow_run
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ExternalSignal, PrefectSignal
from prefect.input.actions import delete_flow_run_input, read_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from prefect.runtime import deployment
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed

from brightrun import attempts, goingon, ownmachine
from brightrun.context import JobContext, driver_name, open_job
from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.ledger_jobs import is_elsewhere
from brightrun.outages import told
from brightrun.pulse import beating
from brightrun.remains import kept
from brightrun.settings import load
from brightrun.stopping import DriverReplaced, JobCancelled, JobPaused, obey
from flows import run_states, ui_runs
from flows.lastcard import last_card
from flows.lifecycle_ids import STOPPED_BY_HAND, job_id_of
from flows.outcome import summary
from flows.sweeper import again, close, ended_without_word
from reports import claims, jobcards
from tasks import story
from tasks.gate import Approval
from tasks.people import notify


def run_name() -> str:
    """The name of the run in the UI; it replaces the one that the form made up."""
    request = this_run.parameters["request"]
    wish = request if isinstance(request, dict) else request.model_dump()
    return name_of(wish, str(this_run.parameters.get("job_id") or ""), str(this_run.id))


def name_of(wish: Mapping[str, Any], given: str, flow_run_id: str) -> str:
    """ "ui-0123456789 Demo": the job's id, then the person's name for it or the file's."""
    label = wish.get("name") or str(wish["training_file"]).rsplit("/", 1)[-1]
    return f"{job_id_of(given, flow_run_id)} {label}"


@contextmanager
def driving(request: JobRequest, given: str) -> Iterator[str]:
    """Claim the job (create it when it is new) and make sure that its end is written down."""
    without_tracebacks()
    settings = load()
    ledger = Ledger.open(settings)
    job_id = job_id_of(given, str(this_run.id))
    if not ledger.has_job(job_id):
        ledger.create_job(job_id, first_wish(ledger, request))
    job = JobContext(settings, ledger, job_id)
    claim(job)
    try:
        with beating(lambda: ledger.renew_claim(job_id, driver_name())):
            yield job_id
    except (PrefectSignal, DriverReplaced):
        raise  # suspended at the gate, or driven by another process: not an end
    except (ExternalSignal, KeyboardInterrupt):
        with second_to("the end of the job"):
            close(job, Status.cancelled, JobCancelled(STOPPED_BY_HAND, fix=again(job_id)))
        raise
    except JobPaused as error:
        with second_to("the pause of the job"):
            rest(job, error)
    except JobCancelled as error:
        with second_to("the end of the job"):
            close(job, Status.cancelled, error)
        if not deployment.id:
            raise  # the terminal tells it; a deployed run ends in the state Cancelled
    except Exception as error:
        with second_to("the end of the job"):
            close(job, Status.failed, told(error))
        with second_to("the notice of the failure"):
            notify(job_id, "failed")
        raise
    finally:
        with second_to("the claim on the job"):
            ledger.release_claim(job_id, driver_name())
        last_card(job)


def first_wish(ledger: Ledger, request: JobRequest) -> JobRequest:
    """What a new job is made from. What cannot be had is refused before a job is made, but to a run
    of the form: that becomes a job, which `begin` refuses, so that people are told."""
    try:
        return admitted(ledger, request)
    except BrightRunError:
        if not may_ask():
            raise
        return request


def admitted(ledger: Ledger, request: JobRequest) -> JobRequest:
    """The wish with its template; an error: it names what is not here."""
    wish = templated(ledger, request)
    ownmachine.require(wish.provider, wish.gpu)
    return wish


def templated(ledger: Ledger, request: JobRequest) -> JobRequest:
    """The wish with its template filled in; ConfigurationError: there is no such template."""
    if not request.template:
        return request
    found = ledger.template(request.template)
    if found is None:
        names = ", ".join(row.name for row in ledger.templates()) or "none yet"
        raise ConfigurationError(
            f"there is no template {request.template!r}", fix=f"there are: {names}"
        )
    return request.filled(found.request)


def rest(job: JobContext, error: JobPaused) -> None:
    """Paused is a state to wait in, and no error."""
    job.ledger.update_job(job.job_id, status=Status.paused)
    said = f"{error.message}; {kept(job, datetime.now(UTC))}; {again(job.job_id)}"
    job.note("choice", {"message": said})
    story.tell(said)
    notify(job.job_id, "paused")


@contextmanager
def second_to(what: str) -> Iterator[None]:
    """A fault in here is told in the log: it must not hide the first one, which is on its way."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 whatever it is
        said = f"Beside that, {what} could not be written or sent: {told(error)}"
        story.tell(said, story.ERROR)


def claim(job: JobContext) -> None:
    """One driver per job."""
    if not job.ledger.claim(job.job_id, driver_name()):
        raise ConfigurationError(
            f"job {job.job_id} is already driven by another process",
            fix=f"follow it with `brightrun watch {job.job_id}`",
        )
    job.ledger.update_job(
        job.job_id, flow_run_id=str(this_run.id), error=None, run_folder=job.folder.url
    )


def begin(job_id: str) -> bool:
    """Going on with an ended job is a fresh start for recovery, unless its stop stands; one that
    never began is looked at once more: another machine may have made it. False: it is completed (a
    Retry of a run that could not say so), and nobody hears of it again."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    if row.status == Status.completed:
        return False
    if row.status in (Status.cancelled, Status.paused):
        honour(job)
    if row.status in (Status.failed, Status.cancelled, Status.paused):
        attempts.start_afresh(job)
        job.ledger.update_job(job_id, status=Status.created, finished_at=None)
    if not row.stage and admitted(job.ledger, job.request) != job.request:
        raise ConfigurationError(
            f"job {job_id} was made before its template was as it is", fix="start a new run"
        )
    return True


def honour(job: JobContext) -> None:
    """JobCancelled, JobPaused: it was while this run was on its way, and nothing is spent."""
    stop, run = job.folder.stop_request(), this_run.id
    if not goingon.stop_stands(stop, goingon.asked_at(job.folder)):
        return
    if run and not goingon.stop_stands(stop, ui_runs.asked_at(run)):
        return
    try:
        obey(job.job_id, stop)
    except JobCancelled as error:
        job.ledger.update_job(job.job_id, error=error.as_dict())
        raise
    raise JobPaused(f"job {job.job_id} was paused before this run began", fix=again(job.job_id))


def complete(job_id: str) -> None:
    """The job's good end, and its verdicts in one line."""
    job = open_job(job_id)
    obey(job_id, job.folder.stop_request())
    job.ledger.update_job(job_id, status=Status.completed, finished_at=datetime.now(UTC))
    found = job.ledger.evaluation(job_id)
    if found is not None:
        said = f"{claims.headline(found.verdicts)} {claims.ei_claim(found.verdicts)}"
        story.tell(f"Completed job {job_id}. {said}. Report: {job.report_url}")


def outcome(job_id: str) -> dict[str, Any] | State[Any]:
    """The summary, under a state that says how the job ended."""
    found = summary(job_id)
    match found["status"]:
        case Status.rejected:
            return Completed(name="Rejected", message="Nothing was spent", data=found)
        case Status.awaiting_approval:
            return Completed(name="AwaitingApproval", message=how_to_approve(job_id), data=found)
        case Status.paused:
            said = f"{found['kept']}; {again(job_id)}"
            return Completed(name="Paused", message=said, data=found)
        case Status.cancelled:
            said = f"{found['error']['message']}; {found['kept']}; {again(job_id)}"
            return Cancelled(message=said)
        case _:
            return found


def may_ask() -> bool:
    """A run of a deployment suspends with a form; one of the terminal, or inside another flow (the
    night), ends as awaiting_approval."""
    return bool(deployment.id) and not this_run.parent_flow_run_id


def how_to_approve(job_id: str) -> str:
    return f"brightrun approve {job_id} --approver NAME, then brightrun train --resume {job_id}"


def ask(job_id: str) -> dict[str, Any]:
    """The answer to the gate's form; suspends the run until there is one.

    The key names the last word given: the same while a run restarts to take its answer, another
    one when that answer was not enough and the question is asked again. An answer that was given
    but not recorded (the process died) is taken: Prefect would not store a second one.
    A server that is away is asked again for up to 10 minutes.
    """
    job = open_job(job_id)
    return job.waited_out(lambda: answer_of(job), run_states.is_away)


def answer_of(job: JobContext) -> dict[str, Any]:
    """`ask`, once; safe to repeat."""
    word = job.ledger.approval(job.job_id)
    key = "gate" if word is None else f"gate-{word.at.timestamp():.0f}"
    inputs = keyset_from_base_key(f"suspended-{key}")
    given: Any = read_flow_run_input(inputs["response"])
    if given is not None:
        return dict(given)
    for name in (inputs["schema"], inputs["description"]):
        if read_flow_run_input(name) is not None:  # asked before, cancelled, retried: ask anew
            delete_flow_run_input(name)
    facts, question = (job.folder.read_json(f"{n}.json") for n in ("estimate", "question"))
    form = Approval.with_initial_data(description=jobcards.gate_card(facts, question))
    return suspend_flow_run(wait_for_input=form, key=key, timeout=patience()).model_dump()


def patience() -> int:
    """Seconds that a run waits at the gate."""
    return load().approval_timeout_hours * 3600


def release_pods(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancelled, crashed or failed: no pod of this job stays. Safe to repeat.

    Crashed, a deployment's job is not over (see `flows.reviving`); nor is one that a process of
    another machine has claimed: the sweepers see when that is gone.
    """
    job_id = job_id_of(str(flow_run.parameters.get("job_id") or ""), str(flow_run.id))
    ledger = Ledger.open(load())
    if not ledger.has_job(job_id):
        return
    row = ledger.job(job_id)
    if state.is_crashed() and flow_run.deployment_id and row.flow_run_id:
        return  # its process was killed: the next sweep puts it back into the queue
    if row.claim is not None and is_elsewhere(row.claim):
        return
    ended_without_word(open_job(job_id), "CANCELLED" if state.is_cancelled() else "CRASHED")


class WithoutTraceback(logging.Filter):
    """What a person can cause is told in words; the words hold cause and fix."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, BrightRunError):
            record.msg, record.args, record.exc_info = str(error), (), None
        return True


def without_tracebacks() -> None:
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(f, WithoutTraceback) for f in logger.filters):
            logger.addFilter(WithoutTraceback())
