"""What past jobs teach: fits, their uncertainty, and how good estimates would have been."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from commands import inside

from benches import year
from brightrun import history
from brightrun.backtest import Part, Past, backtest, errors_of
from brightrun.history import HistoryRow
from brightrun.learning import fit
from brightrun.ledger import Ledger
from brightrun.presetcards import experience
from brightrun.settings import load

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
H100 = ("H100 80GB PCIe", "llama-3-70b", "nf4")


def test_one_job_leaves_much_open_and_many_alike_little() -> None:
    alone = fit([(100, 50.0)], 200)
    assert alone is not None
    assert (alone.low, alone.likely, alone.high) == (100 / 1.3, 100, 130)
    many = fit([(100, 50.0)] * 10, 200)
    assert many is not None
    assert many.high == pytest.approx(105)
    assert fit([], 10) is None
    assert fit([(0, 5.0), (5, 0.0)], 10) is None
    assert fit([(1, 1.0)], 0) is None


def test_fixed_seconds_are_seen_where_sizes_differ() -> None:
    past = [(size, 60 + 0.5 * size) for size in (100, 200, 400, 800)]
    found = fit([*past, (300, 9_999.0)], 1600)  # one odd job among them
    assert found is not None
    assert found.likely == pytest.approx(860, rel=0.02)
    rates = fit([(100, 50.0), (110, 55.0), (105, 52.5), (102, 51.0)], 1000)
    assert rates is not None
    assert rates.likely == pytest.approx(500)


def test_four_of_five_next_jobs_lie_between_low_and_high() -> None:
    chance, inside_of, n = random.Random(7), 0, 400
    for _ in range(n):
        past = [(size, size * math.exp(chance.gauss(0, 0.12))) for size in
                (chance.uniform(90, 110) for _ in range(6))]  # fmt: skip
        found = fit(past, 100)
        assert found is not None
        inside_of += found.low <= 100 * math.exp(chance.gauss(0, 0.12)) <= found.high
    assert 0.75 <= inside_of / n <= 0.87


def rented(chance: random.Random, number: int) -> Past:
    """A job on a rented GPU: t = a + b x tokens, 4 % of noise; physics is 30 % off."""
    tokens = chance.uniform(3e5, 3e6)
    seconds = (900 + 1.1e-3 * tokens) * math.exp(chance.gauss(0, 0.04))
    load_s = 240 * math.exp(chance.gauss(0, 0.08))
    return Past(
        job_id=f"j{number}",
        key=H100,
        parts=(
            Part(name="training", units=tokens, seconds=seconds, guess=1.4e-3 * tokens),
            Part(name="model_loading", units=1.0, seconds=load_s, guess=141.0),
        ),
    )


def test_what_was_learned_from_rented_gpus_beats_physics_and_keeps_the_targets() -> None:
    chance = random.Random(3)
    found = backtest(rented(chance, number) for number in range(60))
    assert found.met
    learned, guessed = found.with_history, found.physics_of_the_same
    assert learned.n == guessed.n == 59
    assert learned.median is not None
    assert learned.p90 is not None
    assert guessed.median is not None
    assert learned.median <= 0.05 < guessed.median
    assert learned.p90 <= 0.15
    assert found.inside is not None
    assert found.inside >= 0.8


def test_a_job_is_estimated_from_the_ones_before_it_and_of_its_kind_only() -> None:
    def past(name: str, key: tuple[str, str, str], seconds: float) -> Past:
        part = Part(name="training", units=10, seconds=seconds)
        return Past(job_id=name, key=key, parts=(part,))

    other = ("cpu/2", "tiny", "nf4")
    found = backtest([past("a", H100, 10), past("b", other, 99), past("c", H100, 10)])
    assert (found.with_history.n, found.with_history.median) == (1, 0)
    assert found.physics.n == 0
    assert backtest([]).met is None
    assert errors_of([0.1 * n for n in range(1, 11)]).p90 == pytest.approx(0.9)


def done(name: str, usd: str, hours: float, status: str = "completed") -> HistoryRow:
    return HistoryRow(
        job_id=name, status=status, stage="", name="", client="", requested_by="", preset="demo",
        provider="local", training_file="f", notes="", parent_job_id=None, created_at=NOW,
        started_at=NOW, finished_at=NOW + timedelta(hours=hours), cost_usd=Decimal(usd),
        likely_usd=None, pods=1, interruptions=0, error_code="" if status == "completed" else "oom",
        quality=None,
    )  # fmt: skip


def test_a_job_stands_beside_others_of_its_preset_and_file_from_three_on() -> None:
    others = [done(name, "10", 2.0) for name in "abc"]
    mine = done("m", "13", 2.2)
    found = history.beside_others(mine, [*others, mine])
    assert (found["n"], found["flagged"]) == (3, True)
    said = history.history_sentence(found)
    assert said == "30% dearer and 10% slower than the median of 3 like it; MORE THAN 20 % OFF"
    assert not history.beside_others(done("m", "10.5", 1.9), others)["flagged"]
    few = history.beside_others(mine, others[:2])
    assert history.history_sentence(few) == "no history (2 like it, 3 are needed)"


def test_a_preset_shows_its_success_and_errors_beside_the_plan(home: Path) -> None:
    rows = [done("a", "2", 1), done("b", "4", 3), done("c", "9", 1, "failed")]
    found = experience("demo", rows)
    assert found["success_rate"] == pytest.approx(2 / 3)
    assert (found["median_hours"], found["median_usd"], found["where"]) == (2, 3, "2 on local")
    assert found["error_codes"] == {"oom": 1}
    assert experience("balanced", rows)["ended"] == 0
    shown = inside(home, "presets", "--json").json
    assert shown["balanced"]["ours"]["success_rate"] is None
    assert "no job has ended yet" in inside(home, "presets").out
    assert not home.exists()


def test_the_backtest_of_a_ledger_is_told(home: Path) -> None:
    year.fill(Ledger.open(load()), 30, 30)
    found = inside(home, "estimate", "--backtest", "--json").json
    assert found["with_history"]["n"] > 20
    assert found["with_history"]["median"] < 0.05
    assert found["physics_of_the_same"]["median"] > 0.05
    assert "80 % are meant to be" in inside(home, "estimate", "--backtest").out
    assert inside(home, "estimate").code == 2


@pytest.mark.slow
def test_a_year_of_history_answers_within_a_second(tmp_path: Path) -> None:
    found = year.timed(tmp_path, 5000, 600_000)
    assert max(found.values()) < 1.0, found
