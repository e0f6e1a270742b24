"""What each interruption cost: time to the next first step, work done again, and its price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from test_brightrun_restarts import at, event, pod

from brightrun.bill import pieces
from brightrun.ledger_rows import AttemptRow
from brightrun.losses import losses, said, sentence, successions, went_on
from brightrun.outcomes import NEVER_BOOTED, NEVER_STARTED
from brightrun.reckoning import reckon


def rented(number: int, launched: float, ended: float, outcome: str, usd: str = "3.60") -> Any:
    return AttemptRow(
        job_id="j", number=number, provider="runpod", market="spot", pod_name=f"p{number}",
        pod_id="", data_center="", gpu="", usd_per_hour=Decimal(usd), launched_at=at(launched),
        started_at=None, ended_at=at(ended), outcome=outcome, last_step=None, resumed_from=None,
        cost_usd=Decimal(usd) * Decimal(str(ended - launched)) / 3600,
    )  # fmt: skip


LOST = "lost:no ending was written"


def test_a_loss_is_the_time_to_the_next_first_step_and_the_work_done_again() -> None:
    events = pod(1, 0, range(1, 6)) + pod(2, 100, range(4, 9))
    events.insert(6, event(1, 25, "checkpoint", step=3))
    pods = [rented(1, -1, 31, LOST), rented(2, 98, 200, "done")]
    (found,) = losses(pods, events, at(300))
    # Pod 1's last step ends at 31, pod 2's first at 119; step 5 is done again by 122.
    assert found.seconds == 88 + 3
    # 6 s after the checkpoint, 2 s of boot, 4 s of imports, 10 s of loading, at $3.60 an hour.
    assert found.usd == Decimal("0.022")
    assert found.restart is not None
    assert found.restart.detect_s == 67


def test_a_pod_that_never_trained_is_lost_as_a_whole_and_its_time_counts_once() -> None:
    dead = [event(2, 50, "heartbeat", stage="starting")]
    events = pod(1, 0, range(1, 6)) + dead + pod(3, 100, range(6, 9))
    pods = [rented(1, 0, 31, LOST), rented(2, 40, 90, LOST), rented(3, 98, 200, "done")]
    first, second = losses(pods, events, at(300))
    assert (first.seconds, second.seconds) == (69, 19)  # 88 s in all
    # Pod 1's 31 s without a checkpoint and pod 2's boot; pod 2's rest and what pod 3 did again.
    assert (first.usd, second.usd) == (Decimal("0.041"), Decimal("0.056"))


def test_the_dollars_are_those_of_the_comparison_with_the_estimate() -> None:
    dead = [event(2, 50, "heartbeat", stage="starting")]
    events = pod(1, 0, range(1, 6)) + dead + pod(3, 100, range(6, 9))
    pods = [rented(1, 0, 31, LOST), rented(2, 40, 90, LOST), rented(3, 98, 200, "done")]
    facts = {
        "parts": {}, "price": {"usd_per_hour": 3.6}, "cost_usd": {"likely": 0.1, "high": 0.2},
    }  # fmt: skip
    parts = {p.name: p.actual_usd for p in reckon(pieces(pods, events, at(300)), facts).parts}
    assert sum(loss.usd for loss in losses(pods, events, at(300))) == parts["interruptions"]


def test_a_pod_that_never_booted_is_boot_waste_and_no_interruption() -> None:
    pods = [rented(1, 0, 60, f"lost:{NEVER_BOOTED}"), rented(2, 70, 200, "done")]
    assert losses(pods, pod(2, 100, range(1, 3)), at(300)) == ()
    mute = [rented(1, 0, 31, LOST), rented(2, 40, 90, f"lost:{NEVER_BOOTED}"),
            rented(3, 98, 200, "done")]  # fmt: skip
    (found,) = losses(mute, pod(1, 0, range(1, 6)) + pod(3, 100, range(6, 9)), at(300))
    # Its whole bill is what the loss of pod 1 brought on: 31 + 50 + 2 + 4 + 10 s.
    assert found.usd == Decimal("0.097")


def test_a_loss_that_nobody_took_over_was_not_resumed() -> None:
    missed = rented(2, 40, 40, f"lost:{NEVER_STARTED}")
    assert successions([rented(1, 0, 31, LOST), missed]) == []
    assert successions([rented(1, 0, 31, "stopped:lease"), rented(2, 40, 90, "done")]) != []


def test_a_wanted_stop_and_a_machine_that_was_not_to_be_had_are_no_interruptions() -> None:
    events = pod(1, 0, range(1, 6)) + pod(2, 9000, range(6, 9))
    missed = f"lost:{NEVER_STARTED}"  # no machine was to be had
    for outcome in ("stopped:pause", "stopped:switch", "failed:trainer", missed):
        pods = [rented(1, 0, 40, outcome), rented(2, 8990, 9100, "done")]
        assert losses(pods, events, at(9999)) == ()


def test_a_loss_is_not_known_before_the_next_pod_trains() -> None:
    pods = [rented(1, 0, 31, LOST), rented(2, 40, 90, "")]
    assert losses(pods, pod(1, 0, range(1, 6)), at(60)) == ()


def test_it_is_said_in_one_sentence() -> None:
    assert said(2, 840, Decimal("0.578"), True, True) == (
        "Interrupted 2x, resumed successfully; 14 min and $0.58 lost"
    )
    assert said(1, 8000, Decimal("0.0042"), True, True).endswith("2 h 13 min and $0.0042 lost")
    assert said(1, 40, Decimal(2), True, True).endswith("; 40 s and $2.00 lost")
    assert sentence(1, (), resumed=True) == "Interrupted 1x, resumed successfully"
    assert sentence(0, (), resumed=True) == ""


def test_a_job_that_failed_before_its_next_step_was_not_resumed_successfully() -> None:
    lost = replace(rented(1, 0, 31, LOST), last_step=6)
    failed = replace(rented(2, 40, 90, "failed:trainer"), last_step=3, resumed_from=3)
    assert not went_on([lost, failed], completed=False)
    assert went_on([lost, failed], completed=True)
    assert went_on([lost, replace(failed, last_step=4)], completed=False)
    assert sentence(1, (), resumed=False) == "Interrupted 1x"
