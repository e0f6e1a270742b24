"""What past jobs teach: fits, their uncertainty, and how good estimates would have been."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from commands import inside

from benches import year
from benches.ranges import DEPENDING, H100, counted, history_of, rented
from brightrun import history
from brightrun.backtest import backtest, errors_of
from brightrun.durations import Observed, Work, units
from brightrun.history import HistoryRow
from brightrun.jobs import PRESETS, Preset
from brightrun.learning import Fit, Whole, bounds, fit, whole
from brightrun.ledger import Ledger
from brightrun.physics import LLAMA_3_70B, SMOLLM2, machine_of
from brightrun.presetcards import experience
from brightrun.prices import CPU, H100_PCIE
from brightrun.remembered import expected, past_jobs
from brightrun.replay import Part, Past, last_misses, replayed
from brightrun.settings import load

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


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


def test_a_smoke_test_is_no_job_whose_miss_narrows_the_range() -> None:
    """Ten starts that all took what was thought, then trainings: nothing is settled by them."""
    load = Part(name="model_loading", units=1.0, seconds=240.0, guess=141.0)
    smoke = [Past(f"s{number}", H100, (load,)) for number in range(10)]
    chance = random.Random(5)
    jobs = [rented(chance, number) for number in range(3)]
    told = list(replayed([*smoke, *jobs]))
    assert all(job.estimate is None for job in told[:10])
    assert len(last_misses([*smoke, *jobs])) == 2


def binomial(n: int) -> float:
    """Standard error of a share of 80 %."""
    return math.sqrt(0.8 * 0.2 / n)


def test_eight_of_ten_jobs_lie_between_low_and_high_however_their_parts_depend() -> None:
    """One question each to histories of their own; two standard errors, three for each kind."""
    chance, n, hits = random.Random(11), 120, []
    for together, alone in DEPENDING:
        inside_of = 0
        for _ in range(n):
            *_, last = replayed(history_of(chance, 14, together, alone))
            assert last.estimate is not None
            assert last.estimate.settled
            inside_of += last.estimate.low <= last.actual <= last.estimate.high
        assert abs(inside_of / n - 0.8) <= 3 * binomial(n), (together, alone)
        hits.append(inside_of)
    assert abs(sum(hits) / (4 * n) - 0.8) <= 2 * binomial(4 * n), hits


def test_a_long_history_of_rented_gpus_keeps_four_of_five_inside() -> None:
    chance = random.Random(3)
    jobs = [rented(chance, number) for number in range(600)]
    found = backtest(jobs)
    assert found.settled.share is not None
    assert abs(found.settled.share - 0.8) <= 2 * binomial(found.settled.n)


def test_the_hard_limit_stops_hardly_any_healthy_job_however_skewed_delays_are() -> None:
    """1.25 x high would stop one of fifty where each part waits 40 % longer on average."""
    for together, alone in DEPENDING:
        found = counted(history_of(random.Random(11), 1500, together, alone))
        assert found["stopped"] <= 0.01, (together, alone)
    assert found["over"] > 0.015


def test_with_few_whole_jobs_the_bounds_of_the_parts_are_added() -> None:
    parts = [Fit(8, 10, 13, 5), Fit(4, 5, 8, 5)]
    assert whole(parts, [0.0] * 8) == Whole(12, 15, 21, False, (12, 21))
    assert whole(parts, [0.0] * 9) == Whole(15, 15, 15, True, (12, 21))
    found = whole(parts, [-0.5, -0.3, -0.2, 0, 0, 0.1, 0.1, 0.2, 2])
    assert (found.low, found.high) == (pytest.approx(15 * 0.8**0.5), pytest.approx(15 * 1.4**2))
    assert (found.miss(found.low), found.miss(found.high)) == pytest.approx((-0.5, 2))
    between = bounds([n / 100 for n in range(-7, 8)])  # 15 of them: ranks 1.6 and 14.4
    assert between == (pytest.approx(-0.064), pytest.approx(0.064))
    assert bounds([0.1] * 9) == (0.0, 0.1)


def thirty_jobs(key: tuple[str, str, str], sizes: Mapping[str, float]) -> list[Observed]:
    """Newest first, six parts each, whose seconds vary by 4 %."""
    chance = random.Random(5)
    names = ("boot", "model_loading", "preprocessing", "training", "measuring", "finalization")
    return [
        Observed(*key, name, sizes.get(name, 1.0),
                 sizes.get(name, 300.0) * 1e-3 * math.exp(chance.gauss(0, 0.04)), f"j{job:02}")
        for job in range(30, 0, -1) for name in names
    ]  # fmt: skip


def test_an_estimate_of_a_rented_gpu_is_as_wide_as_whole_jobs_were_off() -> None:
    machine, values = machine_of(H100_PCIE), PRESETS[Preset.balanced].values
    work = Work(
        train_tokens=500_000, sum_squared_tokens=10**9, supervised_tokens=1, sequences=200,
        longest=4000, epochs=3, steps=120, scenarios=50, max_new_tokens=500,
    )  # fmt: skip
    key = (machine.key, LLAMA_3_70B.name, values.precision)
    past = thirty_jobs(key, units(work, machine, LLAMA_3_70B, values))
    few, many = (
        expected(work, machine, LLAMA_3_70B, values, seen) for seen in (past[: 9 * 6], past)
    )
    assert few.whole.high == pytest.approx(sum(part.high for part in few.parts.values()))
    added = sum(part.high for part in many.parts.values())
    assert many.whole.likely == pytest.approx(sum(part.likely for part in many.parts.values()))
    assert many.whole.likely < many.whole.high < added
    known = bounds(last_misses(past_jobs(key, past)))
    assert known is not None
    wide = math.log(many.whole.high / many.whole.likely) / math.log(added / many.whole.likely)
    assert wide == pytest.approx(known[1])


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


def here(chance: random.Random, number: int, counted: bool) -> Past:
    """A job on a CPU that others use too: the clock goes up to three times slower, the processors'
    seconds vary by 2 %."""
    tokens, slower = chance.uniform(3e4, 3e5), chance.uniform(1, 3)
    parts = [Part("boot", 1.0, 8.0 * slower, 9.0)]
    for name in ("training", "measuring"):
        cpu = 2e-2 * tokens * math.exp(chance.gauss(0, 0.02))
        known = cpu if counted else None
        parts.append(Part(name, tokens, cpu / 2 * slower, 1.3e-2 * tokens, known))
    return Past(f"j{number}", ("cpu/2", "demo", "nf4"), tuple(parts))


def test_jobs_on_a_cpu_are_judged_by_what_they_took_of_it_and_rented_ones_by_the_clock() -> None:
    chance = random.Random(9)
    jobs = [here(chance, number, counted=number >= 20) for number in range(60)]
    chance = random.Random(3)
    bought = [rented(chance, number) for number in range(60)]
    found = backtest([*jobs, *bought])
    cpu, wall = found.in_cpu_seconds, backtest(jobs).with_history
    # The first of them that was counted has no other to learn from: nor has the first rented one.
    assert (cpu.n, wall.n, found.rented.n, found.with_history.n) == (39, 59, 59, 59 + 59)
    assert cpu.median is not None
    assert cpu.p90 is not None
    assert wall.median is not None
    assert cpu.median <= 0.05
    assert cpu.p90 <= 0.15
    assert wall.median > 0.15
    assert found.met  # however crowded the machine was
    assert found.physics.n == 120
    late = [
        job._replace(parts=tuple(part._replace(seconds=3 * part.seconds) for part in job.parts))
        for job in bought[-7:]
    ]
    assert backtest([*jobs, *bought[:-7], *late]).met is False  # 39 good ones do not hide them
    assert backtest(jobs[:20]).met is None  # nobody counted


def test_on_a_cpu_the_high_end_that_was_told_counts() -> None:
    """A job of 2.4 times what the others took is inside: others may share the cores."""
    part, key = Part("training", 10, 10.0, None, 18.0), ("cpu/2", "demo", "nf4")
    slow = part._replace(seconds=24.0)
    for machine, share in ((key, 1.0), (H100, 0.75)):
        jobs = [Past(f"j{n}", machine, (part,)) for n in range(4)]
        assert backtest([*jobs, Past("slow", machine, (slow,))]).inside == share


def test_on_a_cpu_a_long_history_says_how_high_and_no_hard_limit_follows_it_down() -> None:
    machine, values = machine_of(CPU, 2), PRESETS[Preset.demo].values
    work = Work(
        train_tokens=50_000, sum_squared_tokens=10**8, supervised_tokens=30_000, sequences=20,
        longest=5_000, epochs=2, steps=10, scenarios=12, max_new_tokens=96,
    )  # fmt: skip
    key = (machine.key, SMOLLM2.name, values.precision)
    past = thirty_jobs(key, units(work, machine, SMOLLM2, values))
    few, many = (expected(work, machine, SMOLLM2, values, seen) for seen in (past[: 8 * 6], past))
    assert few.whole.high == pytest.approx(2.5 * few.whole.likely)
    assert many.whole.high < 1.2 * many.whole.likely
    assert many.parts["training"].high < 1.2 * many.parts["training"].likely
    assert many.tail == pytest.approx(2.5 * many.whole.likely)


def test_a_job_with_a_stage_that_nobody_counted_has_no_cpu_seconds() -> None:
    boot, told = Part("boot", 1.0, 5.0), Part("training", 10, 50.0, None, 90.0)
    here, silent = ("cpu/2", "demo", "nf4"), Part("measuring", 10, 20.0)
    assert Past("a", here, (boot, told)).sizes("cpu") == [("training", 10, 90.0)]
    assert len(Past("a", here, (boot, told)).sizes("wall")) == 2
    assert Past("a", here, (boot, told, silent)).sizes("cpu") == []
    assert Past("a", here, (boot,)).sizes("cpu") == []
    assert Past("a", H100, (told,)).sizes("cpu") == []


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
    assert found["settled"]["n"] == found["with_history"]["n"] - 9
    assert found["with_history"]["n"] > 20
    assert found["with_history"]["median"] < 0.05
    assert found["physics_of_the_same"]["median"] > 0.05
    assert "80 % are meant to be" in inside(home, "estimate", "--backtest").out
    assert inside(home, "estimate").code == 2


@pytest.mark.slow
def test_a_year_of_history_answers_within_a_second(tmp_path: Path) -> None:
    found = year.timed(tmp_path, 5000, 600_000)
    assert max(found.values()) < 1.0, found
