"""Whose driver on another machine is gone: two stations, one ledger, and outages in between."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fakes.clock import ManualClock
from test_flows_run_states import prefect

from brightrun.jobs import JobRequest
from brightrun.ledger import JobRow, Ledger
from brightrun.ledger_jobs import CLAIM_STALE_SECONDS
from brightrun.settings import load
from flows import tending
from flows.silence import Silence
from flows.tending import SWEEP_SECONDS

LOOKS = int(CLAIM_STALE_SECONDS / SWEEP_SECONDS)
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


def claimed(host: str = "elsewhere", pid: int = 1, at: datetime = LONG_AGO) -> JobRow:
    """A running job whose claim looks old: the ledger was away, or clocks are apart."""
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="file.json"))
    ledger.update_job("j1", status="running", flow_run_id="r1")
    ledger.claim("j1", "driver", pid=pid, host=host, now=at)
    return ledger.job("j1")


def renewed(seconds: int) -> JobRow:
    ledger = Ledger.open(load())
    assert ledger.renew_claim("j1", "driver", LONG_AGO + timedelta(seconds=seconds))
    return ledger.job("j1")


def looked(silence: Silence, clock: ManualClock, row: JobRow, times: int) -> list[bool]:
    found = []
    for _ in range(times):
        clock.sleep(SWEEP_SECONDS)
        found.append(silence.driven(row))
    return found


def test_an_old_claim_of_another_machine_is_dead_only_after_this_one_saw_it_stand_still(
    home: Path,
) -> None:
    row, clock = claimed(), ManualClock()
    silence = Silence(clock)
    assert silence.driven(row)
    assert looked(silence, clock, row, LOOKS) == [True] * (LOOKS - 1) + [False]


def test_a_claim_that_is_renewed_is_alive_however_wrong_its_clock_is(home: Path) -> None:
    row, clock = claimed(), ManualClock()
    silence = Silence(clock)
    for number in range(1, 5):
        assert all(looked(silence, clock, row, LOOKS - 1))
        row = renewed(number)
    assert all(looked(silence, clock, row, LOOKS))


def test_who_looks_first_after_an_outage_of_the_ledger_waits_for_the_others(home: Path) -> None:
    row, clock = claimed(), ManualClock()
    silence = Silence(clock)
    assert all(looked(silence, clock, row, 2))
    clock.sleep(10 * CLAIM_STALE_SECONDS)
    assert all(looked(silence, clock, row, 2))
    row = renewed(1)
    assert all(looked(silence, clock, row, LOOKS))


def test_a_process_of_this_machine_is_looked_at_itself(home: Path) -> None:
    here, silence = socket.gethostname(), Silence(ManualClock())
    assert not silence.driven(claimed(here, pid=2**22 - 7))
    Ledger.open(load()).claim("j1", "other", pid=os.getpid())
    assert silence.driven(Ledger.open(load()).job("j1"))


def test_a_station_takes_a_silent_machines_job_over_and_a_single_sweep_does_not(home: Path) -> None:
    run = {
        "id": "r1", "state_type": "RUNNING", "deployment_id": "d1",
        "state": {"timestamp": (LONG_AGO - timedelta(hours=1)).isoformat()},
        "expected_start_time": LONG_AGO.isoformat(), "parameters": {"job_id": "j1"},
    }  # fmt: skip
    answers = {
        "/api/flow_runs/r1": (200, run),
        "/api/flow_runs/r1/set_state": (201, {"status": "ACCEPT"}),
        "/api/flow_runs/filter": (200, []),
    }
    row, clock = claimed(), ManualClock()
    ledger, silence = Ledger.open(load()), Silence(clock)
    with prefect(answers) as (url, calls):
        for _ in range(LOOKS):
            assert tending.swept(ledger, url) == tending.swept(ledger, url, silence) == []
            assert ledger.job("j1").claim == row.claim
            clock.sleep(SWEEP_SECONDS)
        assert tending.swept(ledger, url, silence) == []
        revived = [path for path, _ in calls if path.endswith("set_state")]
    assert revived == ["/api/flow_runs/r1/set_state"]
    assert ledger.job("j1").claim is None
