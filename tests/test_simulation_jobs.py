"""The simulated world: its luck is fair, its books are whole, the real policy decides in it."""

from __future__ import annotations

from decimal import Decimal
from statistics import fmean

import pytest

from brightrun.jobs import Market
from brightrun.markets import hourly_rate
from brightrun.situation import Policy
from simulation import forecasts, orphans, page
from simulation.jobs import Job, Ran
from simulation.pods import Life, Work, advance, live
from simulation.scenarios import percentile, simulate
from simulation.world import HOUR, SCENARIOS, Scenario, Supply, World, price_of, times

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
CALM, STORM = BY_NAME["calm"], BY_NAME["interrupted_30"]
RATES = {market: hourly_rate(market) for market in Market}


def ran(scenario: Scenario, seed: int, **policy: float) -> Ran:
    return Job(scenario, seed, Policy.model_validate(policy), RATES).run()


def test_the_same_seed_is_the_same_job() -> None:
    assert ran(STORM, 7) == ran(STORM, 7)
    assert ran(STORM, 7) != ran(STORM, 8)


def test_pods_are_lost_as_often_as_the_scenario_says() -> None:
    world = World(STORM, 1)
    lives = [world.lives(Market.spot) / HOUR for _ in range(4000)]
    assert fmean(lives) == pytest.approx(1 / 0.3, rel=0.05)
    assert World(CALM, 1).lives(Market.spot) == float("inf")


def test_machines_are_free_for_their_share_of_the_time() -> None:
    supply = Supply(6.0, 3.0, World(CALM, 3).luck)
    looks = [supply.free(n * 600.0) for n in range(60_000)]
    assert fmean(looks) == pytest.approx(2 / 3, abs=0.05)


def test_a_calm_job_takes_its_time_and_costs_what_it_says() -> None:
    found = [ran(CALM, seed) for seed in range(30)]
    assert all(one.success and not one.losses[Market.spot] for one in found)
    for one in found:
        billed = sum(h * float(price_of(m)) for m, h in one.exposed.items())
        assert float(one.cost) >= billed
        assert float(one.cost) - billed < 1.5  # boots that failed, orphans, the ends
        assert one.hours >= one.work_hours


def test_every_loss_of_a_finished_job_was_resumed_from() -> None:
    found = [ran(STORM, seed) for seed in range(60)]
    assert sum(one.losses[Market.spot] for one in found) > 60
    for one in found:
        if one.success:
            assert len(one.resumes) <= sum(one.losses.values())
            assert all(0 < resume.ours <= resume.whole for resume in one.resumes)


def test_the_next_pod_waits_until_the_lost_one_is_surely_gone_and_for_the_task() -> None:
    """`make_gone` believes two looks that find nothing, a minute apart; then the task pauses."""
    assert orphans.ending(World(CALM, 1), listed=False) == (0.0, 60.0)
    assert orphans.ending(World(CALM, 1)) == (orphans.DELETE_SECONDS, 60.0 + orphans.DELETE_SECONDS)
    job = Job(STORM, 1, Policy(), RATES)
    for pause in (1.0, 5.0, 30.0, 30.0):
        before = job.now
        lost = Life("lost", 3600, 3620, 90, 200, progress=True, silent=False)
        job.pod_ended(lost, Market.spot, "DC-1")
        assert job.now - before == 3620 + 60 + pause


def test_what_is_not_in_a_checkpoint_is_done_again() -> None:
    work = Work(training=1000, measuring=100, interval=300)
    assert advance(work, made=700, train=1000, slower=1.0, upload=10)
    assert (work.saved, work.reached) == (600, 700)
    assert not advance(work, made=50, train=400, slower=1.0, upload=10)
    assert work.saved == 600
    young = Work(training=1000, measuring=100, interval=300)
    advance(young, made=605, train=1000, slower=1.0, upload=10)
    assert young.saved == 300  # the younger one was still on its way


def test_a_place_that_cannot_bring_up_a_pod_bills_until_the_deadline() -> None:
    life = live(World(CALM, 1), Work(100, 10, 60), Market.spot, True, affordable=1e9)
    assert (life.end, life.lasted, life.first_step) == ("unbooted", 600, None)


def test_the_limit_ends_a_pod() -> None:
    life = live(World(CALM, 1), Work(1e5, 10, 600), Market.spot, False, affordable=3600)
    assert (life.end, life.lasted) == ("limit", 3600)


def test_the_estimate_is_the_real_one_for_the_wanted_length() -> None:
    for hours in (1.0, 9.0, 20.0):
        found = forecasts.forecast(hours, Market.spot, RATES)
        lost = found.parts["interruptions"].likely / HOUR
        assert found.hours.likely - lost == pytest.approx(hours, rel=0.05)
        assert found.cost_usd.likely > Decimal("2.49") * Decimal(str(hours * 0.95))


def test_too_few_pods_make_jobs_fail_and_the_line_says_so() -> None:
    poor = simulate(STORM, 40, Policy(max_attempts=2)).line()
    rich = simulate(STORM, 40).line()
    assert poor["success_rate"] < 0.6 < rich["success_rate"]
    assert poor["failures"][0][0] == "2 pods were lost"
    asked = ["scenario", "jobs", "rate_per_hour", "success_rate", "p95_resume_min", "within_15pct",
             "leaked_pods"]  # fmt: skip
    assert set(asked) < set(rich)


def test_a_drought_makes_jobs_wait() -> None:
    calm, dry = (simulate(BY_NAME[name], 30) for name in ("interrupted_30", "drought_30"))
    assert sum(r.waited for r in dry.ran) > 10 * sum(r.waited for r in calm.ran)


def test_every_assumption_names_its_source() -> None:
    for name, table in times().items():
        tables = table.values() if name == "market" else [table]
        assert all(len(one["source"]) > 4 for one in tables), name


def test_tables_replace_what_stands_between_their_marks() -> None:
    text = "a\n<!-- scenarios -->\nold\n<!-- /scenarios -->\nb"
    found = page.replaced(text, {"scenarios": "| new \\1 |"})
    assert found == "a\n<!-- scenarios -->\n| new \\1 |\n<!-- /scenarios -->\nb"
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([], 0.5) == 0
