"""Estimate, then let policy or a person decide. Nothing is spent before the gate is passed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from brightrun import (
    alerts,
    baselines,
    basemodels,
    budget,
    pricing,
    promises,
    quotes,
    repeats,
    retrying,
    smoke,
)
from brightrun.context import JobContext, open_job
from brightrun.jobs import JobRequest
from brightrun.ledger import ApprovalRow, Status
from brightrun.physics import ModelProfile
from evals import attainable
from evals.plan import PLAN, beyond
from reports import jobcards
from tasks import artifacts, sizing, story
from tasks.freezing import stored_report

Answer = Literal["go", "waiting", "rejected"]


class Approval(RunInput):
    """The form at the gate."""

    approve: bool = Field(description="On = spend the money. Off = end here, nothing is spent")
    approver: str = Field(
        min_length=1,
        max_length=120,
        pattern=r"\S",
        description="Your name, up to 120 letters; it is recorded as stated",
    )
    note: str = Field("", max_length=2000, description="Why, for the audit, up to 2000 letters")
    override_budget: bool = Field(
        False,
        description="On = go on although the month's budget is passed; the note must say why. "
        "Off = keep to the budget",
    )


@task(name="estimate", cache_policy=NO_CACHE)
def estimate(job_id: str) -> None:
    """Duration, memory and cost on every market, before a cent is spent."""
    job = open_job(job_id)
    if not job.folder.exists("estimate.json"):
        with job.stage("estimate", "estimating"):
            facts = quote_of(job)
            if job.request.smoke:
                likely = Decimal(str(facts["cost_usd"]["likely"]))
                smoke.affordable(likely, job.settings.smoke_limit_usd)
            job.folder.write_json("estimate.json", facts)
            job.ledger.update_job(
                job_id, estimate=facts, hard_limit_usd=Decimal(str(facts["hard_limit_usd"]))
            )
            story.tell(jobcards.estimate_sentence(facts))
    facts = job.folder.read_json("estimate.json")
    card = jobcards.estimate_card(facts, job.revised(job.progress()))
    artifacts.publish("estimate", card, "What this job would cost")


@task(name="gate", cache_policy=NO_CACHE)
def gate(job_id: str) -> Answer:
    """go: passed by policy or approved; waiting: a person has to answer; rejected: ended."""
    job = open_job(job_id)
    if job.folder.exists("gate.json") and promises.kept(job):
        return "go"
    word = latest_word(job)
    if word is not None and not word.approved:
        return rejected(job, word)
    paid = () if job.request.repeat else paid_before(job)
    decision, reasons = promises.at_gate(job, word, paid)
    if reasons:
        return waiting(job, decision, reasons)
    return opened(job, decision, word)


@task(name="record answer", cache_policy=NO_CACHE)
def record(job_id: str, answer: dict[str, Any]) -> None:
    """What a person typed into the form becomes a row of the ledger."""
    word = Approval.model_validate(answer)
    open_job(job_id).ledger.add_approval(
        job_id,
        approved=word.approve,
        approver=word.approver,
        note=word.note,
        override_budget=word.override_budget,
        at=datetime.now(UTC),
    )


def rejected(job: JobContext, word: ApprovalRow) -> Answer:
    """A clean end: nothing was rented."""
    job.ledger.update_job(job.job_id, status=Status.rejected, finished_at=datetime.now(UTC))
    story.tell(f"Gate: rejected by {word.approver}{because(word)}; nothing was spent")
    return "rejected"


def waiting(job: JobContext, decision: budget.GateDecision, reasons: tuple[str, ...]) -> Answer:
    """The question that a person has to answer, kept for the form and the terminal."""
    month = job.ledger.budget_state(datetime.now(UTC), excluding=job.job_id)
    asked = {**decision.as_json(), "reasons": list(reasons), "budget": month.as_json()}
    asked["differs"] = differs(job)
    asked["approve_above_usd"] = str(promises.limits(job).approve_above)
    job.folder.write_json("question.json", asked)
    if job.ledger.job(job.job_id).status != Status.awaiting_approval:
        story.tell(f"Gate: waiting for a person. {'; '.join(reasons)}", story.WARNING)
        if decision.action == "approve" or deployment.id:  # in a terminal the asker is the reader
            alerts.waiting(job, reasons)
    job.ledger.update_job(job.job_id, status=Status.awaiting_approval, stage="gate")
    return "waiting"


def differs(job: JobContext) -> list[str]:
    """What a retry has other than its parent: `learning_rate: 0.0002 -> 0.0001`."""
    parent = job.ledger.job(job.job_id).parent_job_id
    if parent is None:
        return []
    before = JobRequest.model_validate(job.ledger.job(parent).request)
    changes = retrying.differences(before, job.request)
    return [f"{change} (than in {parent})" for change in changes] or [f"the same as {parent}"]


def opened(job: JobContext, decision: budget.GateDecision, word: ApprovalRow | None) -> Answer:
    """The gate's hard limit is the job's: an override of the budget has widened it."""
    by = word.approver if word is not None else "policy"
    spent = job.ledger.cost_so_far(job.job_id, datetime.now(UTC))
    limit = promises.most(job, decision.hard_limit_usd + spent, word)
    job.ledger.update_job(job.job_id, hard_limit_usd=limit)
    how = answered(decision, word)
    override = word is not None and word.overrides
    said = {"by": by, "how": how, "override_budget": override}
    passed = {**said, **decision.as_json(), "hard_limit_usd": float(limit)}
    job.folder.write_json("gate.json", passed)
    story.tell(f"Gate: {how} by {by}{because(word)}; stopped by itself at ${limit:,.4f}")
    if word is not None and how == "approved":
        alerts.approved(job, word)
    return "go"


def answered(decision: budget.GateDecision, word: ApprovalRow | None) -> str:
    """A word below the limits confirms what its speaker may start; only above is it an approval."""
    if word is None:
        return "passed"
    return "confirmed" if decision.action == "confirm" else "approved"


def because(word: ApprovalRow | None) -> str:
    return f" ({word.note})" if word is not None and word.note else ""


def quote_of(job: JobContext) -> dict[str, Any]:
    """The estimate's JSON, its stage seconds and the budget it was made against."""
    request = job.request
    known = sizing.known_baseline(job)
    work = sizing.work_of(job, known, interruptions=len(request.interrupt_at))
    base = basemodels.prepared_folder(job.spec.base_model, job.settings.models)
    model = ModelProfile.of_prepared(basemodels.profile(base))
    found = pricing.priced(
        work,
        job.spec.values,
        model,
        preset=request.preset,
        provider=request.provider,
        gpu=request.gpu,
        market=request.market,
        settings=job.settings,
        ledger=job.ledger,
        budget_left=promises.left(job),
        notes=quotes.notes_of(stored_report(job)),
    )
    spent = job.ledger.cost_so_far(job.job_id, datetime.now(UTC))
    facts = found.as_json()
    advised = found.recommendation(datetime.now(UTC), request.needed_by)
    return {
        **facts,
        "known_baseline": saved(known),
        "attainable": attainable_gain(job),
        "recommendation": advised.as_json(),
        "warnings": [*warned(job), *facts["warnings"]],
        "stage_seconds": found.stage_seconds,
        "hard_limit_usd": float(promises.most(job, found.estimate.hard_limit_usd + spent)),
        "made_at": datetime.now(UTC).isoformat(),
    }


def saved(known: Mapping[str, str]) -> str:
    """What need not be measured of the baseline, in words. known: {kind: job}."""
    if not known:
        return ""
    kinds = ", ".join(kind.replace("_", " ") for kind in known)
    jobs = ", ".join(sorted(set(known.values())))
    return (
        f"Not measured again: the baseline's {kinds}, known from {jobs}; the high end counts them "
        "all the same, for a pod of another kind has to"
    )


def attainable_gain(job: JobContext) -> list[str]:
    """What an earlier job found of this baseline on these scenarios; empty when none has."""
    known = baselines.scores(job.folder.storage_url, job.spec, job.folder.read_json(PLAN))
    return attainable.sentences(known)


def latest_word(job: JobContext) -> ApprovalRow | None:
    """The last approval of the estimate that stands; one of an older estimate is void."""
    word = job.ledger.approval(job.job_id)
    made = datetime.fromisoformat(job.folder.read_json("estimate.json")["made_at"])
    return word if word is not None and word.at >= made else None


def warned(job: JobContext) -> tuple[str, ...]:
    """Who has agreed beforehand to pay again is told of it; everybody else is asked.

    Before the first real job on an account the smoke test is offered.
    """
    again = paid_before(job) if job.request.repeat else ()
    own = {"scenarios": job.request.scenarios_file, "questions": job.request.questions_file}
    again = (*again, *beyond(job.spec.values, **{name: bool(file) for name, file in own.items()}))
    if job.request.smoke:
        return again
    at, most = job.request.provider, job.settings.smoke_limit_usd
    offer = smoke.advice(job.ledger, at, most)
    return (*again, offer) if offer else again


def paid_before(job: JobContext) -> tuple[str, ...]:
    """What was already paid for the same result."""
    spec_hash = job.spec.spec_hash()
    return repeats.paid_before(job.ledger, job.job_id, spec_hash, datetime.now(UTC))
