"""Three questions to every verdict: improved? above the guaranteed floor? target met?

Each is answered by the whole interval, and each can be open while another is settled.
"""

from __future__ import annotations

from collections.abc import Sequence

from brightrun.verdicts import Table, TargetMet, Verdict
from reports import claims, formats
from reports.metricwords import words_of

ANSWER: dict[TargetMet, str] = {
    "pass": "yes",
    "fail": "no",
    "inconclusive": "open",
    "not_measured": "not measured",
}


def improved(verdict: Verdict) -> str:
    if not claims.measured(verdict):
        return ANSWER["not_measured"]
    words = {True: "yes", False: "no, it got worse", None: "not shown"}
    return words[verdict.improved]


def above_floor(verdict: Verdict) -> str:
    """`open (+20%)`; an en dash where nothing is guaranteed."""
    if verdict.floor is None:
        return formats.NONE
    floor = formats.level(verdict.floor, "percent", signed=True, short=True)
    return f"{ANSWER[verdict.floor_met]} ({floor})"


def target_met(verdict: Verdict) -> str:
    goal = claims.target(verdict)
    return formats.NONE if goal == formats.NONE else f"{ANSWER[verdict.target_met]} ({goal})"


def table(verdicts: Sequence[Verdict]) -> Table:
    """One row per verdict; interval, sample and evidence stand in the table of verdicts above."""
    rows = tuple(
        (
            words_of(v).label + claims.outside(v),
            improved(v),
            above_floor(v),
            target_met(v),
            "" if v.p_holm is None else formats.p_value(v.p_holm),
        )
        for v in verdicts
    )
    return Table(
        columns=("Metric", "Improved?", "Above the floor?", "Target met?", "p (Holm)"),
        rows=rows,
        caption="Three questions, each answered by the whole interval. The floor is the least "
        "improvement that is guaranteed; p is adjusted over the headline tests.",
    )
