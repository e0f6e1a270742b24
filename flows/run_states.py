"""States and cards of flow runs, read from and written to a Prefect server by its HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from brightrun.outages import storage_is_away
from flows.reviving import Seen, UnderWay

FLOW = "finetune"
# Not a person's word, as "AwaitingRetry" is: a cancel that stands goes on standing (ui_runs.ASKS).
GOES_ON = "GoesOn"
TIMEOUT_SECONDS = 10
WRONG = ("CRASHED", "RUNNING", "PENDING", "CANCELLING")
NEWEST = 200


def is_away(error: Exception) -> bool:
    """The server, or what it stands on, which it answers with 500; also our ledger and storage."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError) or storage_is_away(error)


def state_of(api_url: str, flow_run_id: str) -> str:
    """The state type of a flow run (RUNNING, CANCELLED ...); "" when the server has none."""
    found = httpx.get(f"{api_url}/flow_runs/{flow_run_id}", timeout=TIMEOUT_SECONDS)
    if found.status_code == 404:
        return ""
    found.raise_for_status()
    return str(found.json().get("state_type") or "")


def unsettled(api_url: str) -> list[tuple[str, Seen]]:
    """The newest runs that crashed or seem to be under way, by their ids."""
    wanted = {"flow_runs": {"state": {"type": {"any_": WRONG}}}, "limit": NEWEST}
    asked: dict[str, Any] = {**wanted, "sort": "EXPECTED_START_TIME_DESC"}
    found = httpx.post(f"{api_url}/flow_runs/filter", json=asked, timeout=TIMEOUT_SECONDS)
    found.raise_for_status()
    return [(run["id"], seen(run)) for run in found.json()]


def tell(api_url: str, flow_run_id: str, state: str, message: str, **more: Any) -> None:
    """Set a run's state, whatever it was: its process is gone and cannot say so itself.

    more: of the state, beside its type and message.
    """
    wanted = {"state": {"type": state, "message": message, **more}, "force": True}
    done = httpx.post(
        f"{api_url}/flow_runs/{flow_run_id}/set_state", json=wanted, timeout=TIMEOUT_SECONDS
    )
    done.raise_for_status()


def seen(run: Mapping[str, Any]) -> Seen:
    """Of the API's words for a run."""
    own = bool(run.get("deployment_id")) and not run.get("parent_task_run_id")
    return Seen(state=run["state_type"], since=run["state"]["timestamp"], own=own)


@dataclass(frozen=True)
class ServersQueue:
    """`reviving.Queue` of the server at that API's URL."""

    api_url: str

    def run(self, flow_run_id: str) -> dict[str, Any]:
        found = httpx.get(f"{self.api_url}/flow_runs/{flow_run_id}", timeout=TIMEOUT_SECONDS)
        return dict(found.raise_for_status().json())

    def look(self, flow_run_id: str) -> Seen:
        return seen(self.run(flow_run_id))

    def revive(self, flow_run_id: str, message: str, judged: Seen) -> bool:
        run = self.run(flow_run_id)
        if seen(run) != judged:
            return False
        # By its old time it stands before runs that were asked for later.
        details = {"scheduled_time": run["expected_start_time"]}
        tell(self.api_url, flow_run_id, "SCHEDULED", message, name=GOES_ON, state_details=details)
        return True

    def revivals(self, flow_run_id: str) -> int:
        asked = {"flow_run_id": flow_run_id}
        found = httpx.get(f"{self.api_url}/flow_run_states/", params=asked, timeout=TIMEOUT_SECONDS)
        return sum(state["name"] == GOES_ON for state in found.raise_for_status().json())


def under_way(api_url: str, pool: str) -> list[UnderWay]:
    """The newest runs of the job's flow in that pool that a worker has taken and that have not
    ended, or crashed."""
    asked: dict[str, Any] = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CRASHED"]}}},
        "sort": "EXPECTED_START_TIME_DESC",
        "flows": {"name": {"any_": [FLOW]}},
        "work_pools": {"name": {"any_": [pool]}},
        "limit": NEWEST,
    }
    found = httpx.post(f"{api_url}/flow_runs/filter", json=asked, timeout=TIMEOUT_SECONDS)
    found.raise_for_status()
    return [
        UnderWay(
            flow_run_id=run["id"],
            seen=seen(run),
            job_id=str(run["parameters"].get("job_id") or ""),
        )
        for run in found.json()
    ]


def leave(api_url: str, flow_run_id: str, key: str, markdown: str, description: str) -> None:
    """Write a run's card of that key from outside of the run; made when it has none."""
    wanted = {"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": [key]}}
    with httpx.Client(base_url=api_url, timeout=TIMEOUT_SECONDS) as server:
        found = server.post("/artifacts/filter", json={"artifacts": wanted}).raise_for_status()
        if known := found.json():
            done = server.patch(f"/artifacts/{known[0]['id']}", json={"data": markdown})
        else:
            made = {"key": key, "type": "markdown", "data": markdown, "description": description}
            done = server.post("/artifacts/", json={**made, "flow_run_id": flow_run_id})
        done.raise_for_status()
