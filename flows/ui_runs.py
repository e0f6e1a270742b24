"""Flow runs of a running `make ui`: resume one at the gate, cancel one that waits, ask its past."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from brightrun.errors import ConfigurationError
from brightrun.settings import load
from flows import server

ASKS = ("Scheduled", "AwaitingRetry", "Resuming")  # by a person; "Late" and a full queue are not


def resume(
    flow_run_id: str, approve: bool, approver: str, note: str, override_budget: bool
) -> bool:
    """Answer the form of a suspended run; False when there is no such run to wake."""
    if not _reachable(flow_run_id):
        return False
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(flow_run_id))
        if run.state is None or not run.state.is_paused():
            return False
        answer = {"approve": approve, "approver": approver, "note": note}
        outcome = client.resume_flow_run(
            run.id, run_input={**answer, "override_budget": override_budget}
        )
        if outcome.status.value != "ACCEPT":
            why = getattr(outcome.details, "reason", outcome.status.value)
            raise ConfigurationError(f"Prefect did not resume the run: {why}")
    return True


def cancel_waiting(flow_run_id: str, message: str = "cancelled in the terminal") -> None:
    """End a run that waits, is suspended or about to start; a running one obeys its stop order."""
    if _reachable(flow_run_id):
        end_waiting(flow_run_id, message)


def end_waiting(flow_run_id: str, message: str) -> None:
    """The same at the server of this process; one that it does not know does not wait there."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled

    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(flow_run_id))
        except ObjectNotFound:
            return
        state = run.state
        if state and (state.is_paused() or state.is_scheduled() or state.is_pending()):
            client.set_flow_run_state(run.id, Cancelled(message=message))


def asked_at(flow_run_id: str) -> datetime | None:
    """When this run was last asked for: submitted, retried, or its form answered. None: it was not,
    because it is a process of the terminal."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(flow_run_id))
    return max((s.timestamp for s in states if s.name in ASKS), default=None)


def _reachable(flow_run_id: str) -> bool:
    settings = load()
    if not flow_run_id or server.shared_url(settings) is None:
        return False
    server.ensure(settings)
    return True
