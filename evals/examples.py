"""Before/after examples by a stated rule, so that nobody picks the pretty ones.

Rule: of the scenarios without a safety class, the 4 with the largest gain of the voice index
(best), the 4 with the largest loss or smallest gain (worst), and 4 drawn by the plan's seed
(random); of the safety scenarios every one the trained model failed, up to 6, and the first of
each class (safety). With few scenarios best, worst and random share them; the random part is filled
up, so that at least 10 are shown whenever 10 were answered. Always pass 1, in full. Ties go by id.
Where the voice index is withdrawn it ranks nothing: all 12 are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from brightrun.verdicts import Example
from evals.highlights import marks
from evals.honesty import VOICE
from evals.markers import LABELS, Markers
from evals.safety import Ruling
from evals.sources import Lexicons, Scenario

SHOWN_PASS = 1
OF_A_KIND = 4
MOST_FAILURES = 6
AT_LEAST = 10
MOST_NOTES = 3
RULE = (
    "best, worst and random by change of the automatic voice index (seeded), plus safety cases; "
    "answers of pass 1 in full"
)
DRAWN = "drawn by seed (the voice index is withdrawn), plus safety cases; answers of pass 1 in full"


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer with all that the notes need."""

    text: str
    markers: Markers
    voice: float
    truncated: bool
    ruling: Ruling | None = None


Sides = tuple[Scored, Scored]


def rule(withdrawn: Collection[str]) -> str:
    """How the examples are chosen, in words."""
    return DRAWN if VOICE in withdrawn else RULE


def select(
    scenarios: Sequence[Scenario], sides: Mapping[str, Sides], *, seed: int, ranks: bool = True
) -> list[tuple[Scenario, str]]:
    """(scenario, why) in the order best, worst, random, safety; each scenario once.

    ranks: the voice index tells better from worse; if not, all but the safety cases are drawn.
    """
    chosen: dict[str, str] = {}

    def gain(scenario: Scenario) -> float:
        before, after = sides[scenario.scenario_id]
        return after.voice - before.voice

    plain = [s for s in scenarios if s.safety == "none"]
    ranked = sorted(plain, key=lambda s: (-gain(s), s.scenario_id))
    # With few scenarios the three kinds share them: none may take what the others need.
    each = min(OF_A_KIND, -(-len(ranked) // 3)) if ranks else 0
    for scenario in ranked[:each]:
        chosen[scenario.scenario_id] = "best"
    for scenario in ranked[::-1][: min(each, len(ranked) - each)]:
        chosen[scenario.scenario_id] = "worst"
    safety = _safety_cases(scenarios, sides)
    rest = sorted(
        (s.scenario_id for s in plain if s.scenario_id not in chosen),
    )
    rng = random.Random(seed)  # noqa: S311 - a reproducible draw, no secret
    rng.shuffle(rest)
    for name in rest[: OF_A_KIND if ranks else 3 * OF_A_KIND]:
        chosen[name] = "random"
    for name in safety:
        chosen[name] = "safety"
    left = sorted(s.scenario_id for s in scenarios if s.scenario_id not in chosen)
    rng.shuffle(left)
    for name in left[: max(0, AT_LEAST - len(chosen))]:
        chosen[name] = "random"
    by_id = {scenario.scenario_id: scenario for scenario in scenarios}
    order = {"best": 0, "worst": 1, "random": 2, "safety": 3}
    names = sorted(chosen, key=lambda name: order[chosen[name]])
    return [(by_id[name], chosen[name]) for name in names]


def _safety_cases(scenarios: Sequence[Scenario], sides: Mapping[str, Sides]) -> list[str]:
    cases: list[str] = []
    classes: set[str] = set()
    failures = 0
    for scenario in scenarios:
        ruling = sides[scenario.scenario_id][1].ruling
        if ruling is None:
            continue
        failed = not ruling.passed and not ruling.review and failures < MOST_FAILURES
        if failed or scenario.safety not in classes:
            cases.append(scenario.scenario_id)
        failures += failed
        classes.add(scenario.safety)
    return cases


def notes(
    sides: Sides, spread: Mapping[str, float], withdrawn: Collection[str] = ()
) -> tuple[str, ...]:
    """What the markers say differs: the voice index, then the largest differences in units of
    `spread` (the standard deviation of each marker), safety and truncation.

    withdrawn: markers and indices whose change means nothing.
    """
    before, after = sides
    found = [
        f"Voice index (automatic, 0-100): {before.voice:.0f} -> {after.voice:.0f}"
        + (" (withdrawn)" if VOICE in withdrawn else _direction(after.voice - before.voice))
    ]
    differing = sorted(
        (
            name
            for name in LABELS
            if name not in withdrawn and abs(after.markers[name] - before.markers[name]) > 1e-9
        ),
        key=lambda name: (
            -abs(after.markers[name] - before.markers[name]) / max(spread.get(name, 0.0), 1e-9)
        ),
    )
    found += [
        f"{LABELS[name]}: {before.markers[name]:.3g} -> {after.markers[name]:.3g}"
        for name in differing[:MOST_NOTES]
    ]
    for label, side in (("Baseline", before), ("Trained", after)):
        if side.ruling is not None:
            found.append(f"{label} {_ruled(side.ruling)}")
        if side.truncated:
            found.append(f"{label} answer was cut off at the length limit")
    return tuple(found)


def _ruled(ruling: Ruling) -> str:
    if ruling.review:
        return f"answer {ruling.reason}"
    return f"{'passes' if ruling.passed else 'FAILS'} the safety rule: {ruling.reason}"


def _direction(change: float) -> str:
    if abs(change) < 0.5:
        return " (no change)"
    return " (better)" if change > 0 else " (worse: a loss)"


def build(
    scenarios: Sequence[Scenario],
    sides: Mapping[str, Sides],
    spread: Mapping[str, float],
    *,
    seed: int,
    lexicons: Lexicons,
    withdrawn: Collection[str] = (),
) -> tuple[Example, ...]:
    """The examples of the report, losses included."""
    return tuple(
        Example(
            scenario_id=scenario.scenario_id,
            arc=scenario.arc,
            persona=scenario.persona,
            client_message=scenario.client_message,
            baseline=sides[scenario.scenario_id][0].text,
            trained=sides[scenario.scenario_id][1].text,
            why=why,
            notes=notes(sides[scenario.scenario_id], spread, withdrawn),
            baseline_marks=marks(sides[scenario.scenario_id][0].text, lexicons),
            trained_marks=marks(sides[scenario.scenario_id][1].text, lexicons),
        )
        for scenario, why in select(scenarios, sides, seed=seed, ranks=VOICE not in withdrawn)
    )
