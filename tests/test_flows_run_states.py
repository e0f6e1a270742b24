"""Reading and setting the states of flow runs over the API's own shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fakes import loopback
from fakes.loopback import Quiet

from flows import run_states
from flows.reviving import Seen, UnderWay

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
Calls = list[tuple[str, dict[str, Any]]]


@contextmanager
def prefect(answers: dict[str, tuple[int, Any]]) -> Iterator[tuple[str, Calls]]:
    """A server that answers by path; its API address and what it was sent."""
    calls: Calls = []

    class Handler(Quiet):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, {}))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            calls.append((self.path, json.loads(self.rfile.read(length))))
            self.do_GET()

    with loopback.serving(Handler) as root:
        yield f"{root}/api", calls


def test_runs_that_look_wrong_are_read_and_set_right() -> None:
    crashed = {
        "id": "r1", "state_type": "CRASHED", "deployment_id": "d1",
        "state": {"timestamp": "2026-03-01T00:00:00Z"},
    }  # fmt: skip
    answers = {
        "/api/flow_runs/filter": (200, [crashed]),
        "/api/flow_runs/r1": (200, {"state_type": "CRASHED"}),
        "/api/flow_runs/r1/set_state": (201, {"status": "ACCEPT"}),
    }
    with prefect(answers) as (url, calls):
        assert run_states.unsettled(url) == [("r1", Seen(state="CRASHED", since=BEGAN, own=True))]
        assert run_states.state_of(url, "r1") == "CRASHED"
        assert run_states.state_of(url, "another server's") == ""
        run_states.tell(url, "r1", "CANCELLED", "stopped; go on")
    wanted, told = calls
    assert "RUNNING" in wanted[1]["flow_runs"]["state"]["type"]["any_"]
    state = {"type": "CANCELLED", "message": "stopped; go on"}
    assert told[1] == {"state": state, "force": True}


def test_a_server_that_refuses_is_an_error_for_the_sweeper_to_put_off() -> None:
    with prefect({"/api/flow_runs/filter": (503, {})}) as (url, _), pytest.raises(httpx.HTTPError):
        run_states.unsettled(url)


def test_a_run_goes_back_into_the_queue_over_the_api() -> None:
    run = {
        "id": "r1", "state_type": "RUNNING", "deployment_id": "d1", "parent_task_run_id": None,
        "state": {"timestamp": "2026-03-01T00:00:00Z"}, "parameters": {"job_id": "j1"},
        "expected_start_time": "2026-02-28T23:00:00Z",
    }  # fmt: skip
    answers = {
        "/api/flow_runs/r1": (200, run),
        "/api/flow_runs/inner": (200, {**run, "parent_task_run_id": "t1"}),
        "/api/flow_runs/terminal": (200, {**run, "deployment_id": None}),
        "/api/flow_runs/r1/set_state": (201, {"status": "ACCEPT"}),
        "/api/flow_runs/filter": (200, [run]),
        "/api/flow_run_states/?flow_run_id=r1": (
            200,
            [{"name": name} for name in ("GoesOn", "Running", "Crashed", "GoesOn")],
        ),
    }
    with prefect(answers) as (url, calls):
        queue = run_states.ServersQueue(url)
        assert [queue.look(other).own for other in ("r1", "inner", "terminal")] == [
            True, False, False,
        ]  # fmt: skip
        judged = queue.look("r1")
        assert judged == Seen(state="RUNNING", since=BEGAN, own=True)
        for change in ({"since": BEGAN + timedelta(seconds=1)}, {"state": "CRASHED"}):
            assert not queue.revive("r1", "gone", judged.model_copy(update=change))
        assert calls == []
        assert queue.revive("r1", "gone", judged)
        before = {"scheduled_time": "2026-02-28T23:00:00Z"}  # before runs that were asked for later
        wanted = {"type": "SCHEDULED", "message": "gone", "name": "GoesOn", "state_details": before}
        assert calls == [("/api/flow_runs/r1/set_state", {"state": wanted, "force": True})]
        assert queue.revivals("r1") == 2
        (found,) = run_states.under_way(url, "pool-a")
    assert found == UnderWay(flow_run_id="r1", seen=judged, job_id="j1")
    assert "CRASHED" in calls[-1][1]["flow_runs"]["state"]["type"]["any_"]
    assert calls[-1][1]["work_pools"] == {"name": {"any_": ["pool-a"]}}
    assert calls[-1][1]["flows"] == {"name": {"any_": ["finetune"]}}
