"""A job at its gate: the month, its client's month and the limits decide, and money is held.

What is held is written in the transaction that decides (`Ledger.at_gate`): of two jobs that ask for
the last dollar one passes, and the other one waits.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from brightrun import budget, nightly
from brightrun.budget import BudgetState, GateDecision, Limits
from brightrun.context import JobContext
from brightrun.costrange import CostRange
from brightrun.deciding import RESUMED
from brightrun.ledger import ApprovalRow

QUESTION = "question.json"
Answered = tuple[GateDecision, tuple[str, ...]]


def at_gate(job: JobContext, word: ApprovalRow | None, paid: tuple[str, ...]) -> Answered:
    """The decision, and why the gate stays shut (empty: it is open, and the money is held).

    word: what a person has said to this estimate; paid: what the same result has cost
    before, where nobody agreed to pay again.
    """
    facts, ledger, now = job.folder.read_json("estimate.json"), job.ledger, datetime.now(UTC)
    # Read before: inside of `decide` a second connection would wait for the first.
    request = job.request
    cost = CostRange.from_json(facts)
    allowed = limits(job)
    own, spent = own_limit(job, word), ledger.cost_so_far(job.job_id, now)
    beyond = beyond_night(job, cost, own_limit(job, None), spent)
    up_to = None if word is None else ledger.may_approve(word.approver)

    def decide(month: BudgetState, client: BudgetState | None) -> tuple[Answered, Decimal | None]:
        found = budget.gate(
            cost,
            allowed,
            month,
            confirm=request.confirm,
            usd_per_hour=Decimal(str(facts["price"]["usd_per_hour"])),
            override=word is not None and word.overrides,
            client=client,
        )
        if own is not None:
            still = max(Decimal(0), own - spent)
            found = replace(found, hard_limit_usd=min(found.hard_limit_usd, still))
        if paid or beyond:
            asks: budget.Action = "confirm" if found.action == "pass" else found.action
            action = "approve" if beyond else asks
            found = replace(found, action=action, reasons=(*found.reasons, *paid, *beyond))
        shut = unanswered(found, word, up_to)
        return (found, shut), None if shut else found.hard_limit_usd

    return ledger.at_gate(job.job_id, decide, now)


def limits(job: JobContext) -> Limits:
    """Those of today; but the limit with which an approval was asked stays with the job: going on
    in a process with a higher one does not pass it."""
    row = job.ledger.job(job.job_id)
    today = job.ledger.limits_for(row.client, row.preset, row.provider)
    asked = job.folder.read_json(QUESTION) if job.folder.exists(QUESTION) else {}
    if asked.get("action") != "approve" or "approve_above_usd" not in asked:
        return today
    then = Decimal(asked["approve_above_usd"])
    return replace(today, approve_above=min(today.approve_above, then))


def most(job: JobContext, limit: Decimal, word: ApprovalRow | None = None) -> Decimal:
    """Dollars in all, whatever the estimate would allow."""
    own = own_limit(job, word)
    return limit if own is None else min(limit, own)


def own_limit(job: JobContext, word: ApprovalRow | None) -> Decimal | None:
    """Dollars that a smoke test may cost, or a night's job that no person has decided on: what its
    night has left; None: any."""
    if job.request.smoke:
        return job.settings.smoke_limit_usd
    night = nightly.night_of(job.request)
    if not night or word is not None or job.folder.exists(RESUMED):
        return None
    now = datetime.now(UTC)
    left = job.settings.nightly_budget_usd - job.ledger.night_cost(night, now)
    return job.ledger.cost_so_far(job.job_id, now) + max(Decimal(0), left)


def beyond_night(
    job: JobContext, cost: CostRange, own: Decimal | None, spent: Decimal
) -> tuple[str, ...]:
    """A night's job whose estimate has grown beyond what its night has left needs an approval."""
    if own is None or job.request.smoke or cost.high <= own - spent:
        return ()
    left = f"${own - spent:,.2f} of the night's budget is left"
    return (f"may cost ${cost.high:,.2f}, but {left}",)


def unanswered(
    decision: GateDecision, word: ApprovalRow | None, up_to: Decimal | None
) -> tuple[str, ...]:
    """What still stands between the job and the money; empty = it may go on."""
    if decision.action == "pass":
        return ()
    if word is None:
        return decision.reasons
    return budget.admits(
        decision,
        approved=word.approved,
        override_budget=word.overrides,
        approver=word.approver,
        up_to=up_to,
    )


def kept(job: JobContext) -> bool:
    """Whether what was promised at the gate still holds: held, or held again, or all spent.

    A job that ended gave its hold back. Going on takes what is left of its limit from the month as
    it is now; when that is not there any more, the gate is shut again.
    """
    pods = job.ledger.attempts(job.job_id)
    if job.ledger.open_hold(job.job_id) is not None or (pods and pods[-1].outcome == "done"):
        return True
    now, gate = datetime.now(UTC), job.folder.read_json("gate.json")
    limit = Decimal(str(gate["hard_limit_usd"])) - job.ledger.cost_so_far(job.job_id, now)
    rest = max(Decimal(0), limit)

    def decide(month: BudgetState, client: BudgetState | None) -> tuple[bool, Decimal | None]:
        left = min(state.left for state in (month, client) if state is not None)
        fits = rest <= left or bool(gate.get("override_budget"))
        return fits, rest if fits else None

    if job.ledger.at_gate(job.job_id, decide, now):
        return True
    job.folder.remove("gate.json")
    return False


def left(job: JobContext) -> Decimal:
    """What the month, and the client's, leave to this job."""
    now, row = datetime.now(UTC), job.ledger.job(job.job_id)
    month, own = job.ledger.budget_states(now, row.client, excluding=job.job_id)
    return month.left if own is None else min(month.left, own.left)
