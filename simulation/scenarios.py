"""Many jobs of one scenario, and what they come to. The pipeline learns its rates job by job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean
from typing import Any

from brightrun.jobs import Market
from brightrun.markets import hourly_rate
from brightrun.situation import Policy
from simulation.jobs import Job, Ran
from simulation.world import Scenario


@dataclass(frozen=True, slots=True)
class Results:
    """Of one scenario under one policy; seeds are 0, 1, 2, ... in every one."""

    scenario: Scenario
    ran: tuple[Ran, ...]

    @property
    def success_rate(self) -> float:
        return fmean(r.success for r in self.ran)

    @property
    def within_15pct(self) -> float:
        return fmean(r.within for r in self.ran)

    @property
    def cost(self) -> float:
        return float(sum((r.cost for r in self.ran), Decimal(0)))

    @property
    def over_estimate(self) -> float:
        """Mean cost over the mean likely estimate."""
        return self.cost / float(sum((r.likely for r in self.ran), Decimal(0)))

    @property
    def overhead(self) -> float:
        """Pod hours beyond the work, as a share of the work."""
        return fmean(sum(r.exposed.values()) / r.work_hours for r in self.ran) - 1

    @property
    def switched(self) -> float:
        return fmean(r.switched for r in self.ran)

    def resume_minutes(self, q: float, *, boots: bool = False) -> float:
        """A percentile of loss to first step; without the provider's boots unless asked for."""
        each = (s.whole if boots else s.ours for r in self.ran for s in r.resumes)
        return percentile([seconds / 60 for seconds in each], q)

    def interruptions(self) -> float:
        """Mean per job."""
        return fmean(sum(r.losses.values()) for r in self.ran)

    def failures(self) -> list[tuple[str, int]]:
        """Why jobs did not complete, most frequent first."""
        return Counter(r.why.partition(":")[0] for r in self.ran if not r.success).most_common()

    def line(self) -> dict[str, Any]:
        """The JSON object of a scenario. Minutes; savings against on demand are added elsewhere."""
        return {
            "scenario": self.scenario.name,
            "jobs": len(self.ran),
            "rate_per_hour": self.scenario.spot_per_hour,
            "success_rate": round(self.success_rate, 4),
            "p50_resume_min": round(self.resume_minutes(0.5), 2),
            "p95_resume_min": round(self.resume_minutes(0.95), 2),
            "p95_resume_with_boot_min": round(self.resume_minutes(0.95, boots=True), 2),
            "within_15pct": round(self.within_15pct, 4),
            "leaked_pods": sum(r.leaked for r in self.ran),
            "cost_over_likely": round(self.over_estimate, 3),
            "interruptions": round(self.interruptions(), 2),
            "p95_waited_h": round(percentile([r.waited for r in self.ran], 0.95), 2),
            "failures": self.failures(),
        }


def simulate(
    scenario: Scenario,
    jobs: int,
    policy: Policy | None = None,
    *,
    wish: Market = Market.spot,
    interval: float | None = None,
) -> Results:
    """Run the jobs one after the other. interval: seconds between checkpoints, None: as planned."""
    losses, hours = dict.fromkeys(Market, 0), dict.fromkeys(Market, 0.0)
    found: list[Ran] = []
    for seed in range(jobs):
        rates = {m: hourly_rate(m, losses[m], hours[m]) for m in Market}
        job = Job(scenario, seed, policy or Policy(), rates, wish, interval).run()
        for market in Market:
            losses[market] += job.losses[market]
            hours[market] += job.exposed[market]
        found.append(job)
    return Results(scenario, tuple(found))


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest value that a share q does not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0
