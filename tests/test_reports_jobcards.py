"""Cards of a running job: what a person reads in the Prefect UI."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from brightrun.progress import progress
from brightrun.runfolder import Event
from reports import jobcards

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SPREAD = {"low": 0.1, "likely": 0.2, "high": 0.5}
PRICE = {"usd_per_hour": 0.5, "source": "a table", "as_of": "2026-05-01"}
SPOT = {"market": "spot", "offered": False, "price": PRICE, "note": "not offered: no spot here"}
ON_DEMAND = {
    "market": "on_demand", "offered": True, "price": PRICE, "note": "", "hours": SPREAD,
    "cost_usd": SPREAD, "turnaround_h": 0.3,
}  # fmt: skip
FACTS: dict[str, Any] = {
    "tokens_per_epoch": 19247, "steps": 21, "hours": SPREAD, "cost_usd": SPREAD,
    "turnaround_h": 0.3, "vram_gb": 2.1, "fits": True, "price": PRICE, "market": "on_demand",
    "warnings": ["mind <b>this</b>"], "hard_limit_usd": 0.6, "basis": "history",
    "markets": [SPOT, ON_DEMAND],
}  # fmt: skip
QUESTION: dict[str, Any] = {
    "reasons": ["it costs much"], "warnings": [],
    "budget": {"month": "2026-05", "limit": 500, "spent": 20, "committed": 5, "left": 475},
}  # fmt: skip


def plain(card: str) -> str:
    return card.replace("\\", "")


def test_the_estimate_shows_markets_side_by_side_and_where_prices_come_from() -> None:
    card = plain(jobcards.estimate_card(FACTS))
    assert "| spot | not offered |" in card.replace("  ", " ")
    assert "$0.200" in card
    assert "$0.100 to $0.500" in card
    assert "not offered: no spot here" in card
    assert "(a table, 2026-05-01)" in card
    assert "<b>" not in card


def test_the_gate_says_cost_reason_and_budget() -> None:
    card = plain(jobcards.gate_card(FACTS, QUESTION))
    assert "Estimate: $0.200 likely ($0.100 to $0.500)" in card
    assert "Why you are asked: it costs much" in card
    assert "Budget 2026-05: $475.00 of $500.00 left" in card
    assert "DOES NOT FIT" in jobcards.gate_card({**FACTS, "fits": False}, QUESTION)


def test_all_presets_and_markets_stand_in_one_table() -> None:
    rows = [
        {"provider": "local", "preset": preset, "model": "tiny", "gate": "", **market}
        for preset in ("balanced", "demo")
        for market in (SPOT, ON_DEMAND)
    ]
    month = {"month": "2026-11", "limit": 500.0, "spent": 20.0, "committed": 5.0, "left": 475.0}
    rows[0]["gate"] = "approve"
    card = plain(jobcards.markets_card("file.json", rows, month))
    assert "$475.00 of $500.00 left, $20.00 spent, $5.00 committed" in card
    assert card.count("approve") == 1
    assert sum(line.startswith("| local ") for line in card.splitlines()) == 4
    assert card.count("(a table, 2026-05-01)") == 1  # said once, not in every row
    assert "Nothing was started" in card


def metric(step: int, loss: float, **more: Any) -> Event:
    payload = {"step": step, "total_steps": 4, "epoch": step / 4, "loss": loss, "seconds": 1.0,
               "learning_rate": 1e-4, "tokens_per_s": 10.0, **more}  # fmt: skip
    return Event(ts=NOW, attempt=1, seq=step, type="metric", payload=payload)


def test_progress_shows_no_negative_and_no_nan() -> None:
    """A clock that was set back and a loss that broke: the card stays readable."""
    started = {"name": "training", "status": "started"}
    begun = Event(ts=NOW + timedelta(hours=1), attempt=1, seq=0, type="stage", payload=started)
    state = progress([begun, metric(1, 2.0), metric(2, math.nan)], {"training": math.nan}, NOW)
    card = plain(jobcards.progress_card(state, "$0.00"))
    assert "nan" not in card.lower()
    assert "−" not in card
    assert not any(f"{sign}{digit}" in card for sign in ("-", "−") for digit in "123456789")
    assert "step 2 of 4" in card


def test_the_loss_curve_leaves_broken_values_out() -> None:
    state = progress([metric(1, 2.0), metric(2, math.nan), metric(3, 1.5)], {}, NOW)
    card = jobcards.loss_card(state)
    assert "data:image/svg+xml;base64," in card
    assert "nan" not in card.split("base64,")[1].split(")")[1].lower()
    assert "Training loss 2.00 at step 1, 1.50 at step 3" in plain(card)


def test_before_training_there_is_no_step_and_no_curve() -> None:
    state = progress([], {}, NOW)
    assert "step" not in jobcards.progress_card(state, "$0.00").split("|")[0]
    assert "after two steps" in jobcards.loss_card(state)


def test_interruptions_with_their_hours_and_the_recommended_market_are_said() -> None:
    rate = {"low": 0.1, "likely": 0.2, "high": 0.3, "losses": 1, "hours": 12.5}
    spot = {**ON_DEMAND, "market": "spot", "interruptions_per_hour": rate}
    advised = {"market": "spot", "why": "spot: likely $0.20, done before Monday", "in_time": True}
    facts = {**FACTS, "markets": [spot, ON_DEMAND], "recommendation": advised}
    for card in (jobcards.estimate_card(facts), jobcards.gate_card(facts, QUESTION)):
        assert "spot 20.0% (10.0% to 30.0%; 1 loss in 12.5 pod hours seen)" in plain(card)
        assert "Recommended: spot: likely $0.20, done before Monday" in plain(card)


def test_one_market_without_a_date_needs_no_recommendation() -> None:
    advised = {"market": "on_demand", "why": "the least", "in_time": None}
    assert jobcards.market_sentences({**FACTS, "recommendation": advised}) == []
