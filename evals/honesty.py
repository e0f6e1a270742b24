"""Does a marker know the planner's own answer from a neutral one? If not, it is withdrawn.

The test: how often a written answer (the job's held-out ones when there are enough, else those of
evals/data/rewrites.jsonl) has more of a marker than a neutral rewrite that keeps the facts and
drops the voice. At or below 80 % of the pairs (AUC 0.8) a marker's change means nothing: its
levels stay in the table, its change and interval do not. The two indices that speak for many
markers (voice index, distance to gold) claim no improvement when they fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from brightrun.verdicts import Table, Verdict
from evals.gold import Read, gauge, read
from evals.markers import LABELS
from evals.sources import DATA, Lexicons

LEAST_AUC = 0.8
ENOUGH_GOLD = 10
MOST_GOLD = 100
VOICE, DISTANCE = "voice_index", "distance"
# Fewer of these is what the planner writes.
LESS = ("unexplained_jargon", DISTANCE)


@dataclass(frozen=True, slots=True)
class Trust:
    """auc: marker or index -> share of pairs in which gold shows more of it. n: gold, neutral."""

    auc: Mapping[str, float]
    gold: int
    neutral: int
    own_gold: bool

    def withdrawn(self, name: str) -> bool:
        return self.auc.get(name, 1.0) <= LEAST_AUC


def load_rewrites(data: Path = DATA) -> tuple[tuple[str, str], ...]:
    """(written answer, neutral rewrite); empty when the data folder has none."""
    path = data / "rewrites.jsonl"
    if not path.exists():
        return ()
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return tuple((str(row["gold"]), str(row["neutral"])) for row in rows)


def trust(
    gold: Sequence[Read], rewrites: Sequence[tuple[str, str]], lexicons: Lexicons
) -> Trust | None:
    """None without rewrites. gold: the job's held-out answers."""
    if not rewrites:
        return None
    own = len(gold) >= ENOUGH_GOLD
    written = list(gold[:: -(-len(gold) // MOST_GOLD)]) if own else [
        read(text, lexicons) for text, _ in rewrites
    ]  # fmt: skip
    neutral = [read(text, lexicons) for _, text in rewrites]
    sides = {
        name: ([r.markers[name] for r in written], [r.markers[name] for r in neutral])
        for name in LABELS
    }
    sides[VOICE] = [r.voice.index for r in written], [r.voice.index for r in neutral]
    sides[DISTANCE] = _distances(written), _against(written, neutral)
    return Trust(
        {
            name: auc(theirs, ours) if name in LESS else auc(ours, theirs)
            for name, (ours, theirs) in sides.items()
        },
        len(written),
        len(neutral),
        own,
    )


def auc(more: Sequence[float], less: Sequence[float]) -> float:
    """Share of pairs with more > less; ties count half."""
    return float(stats.mannwhitneyu(more, less).statistic) / (len(more) * len(less))


def _distances(written: Sequence[Read]) -> list[float]:
    """Each written answer against the others."""
    found = []
    for position, item in enumerate(written):
        by = gauge([*written[:position], *written[position + 1 :]])
        found.append(by.distance(item.markers) if by else 0.0)
    return found


def _against(written: Sequence[Read], others: Sequence[Read]) -> list[float]:
    by = gauge(written)
    return [by.distance(item.markers) if by else 0.0 for item in others]


def marked(table: Table, found: Trust | None) -> Table:
    """The marker table with the test beside each row, changes of withdrawn markers taken out."""
    if found is None:
        return table
    names = (*LABELS, VOICE, DISTANCE)
    rows = []
    for name, row in zip(names, table.rows, strict=False):
        gone = found.withdrawn(name)
        label, levels, change = row[0], row[1:4], row[4:7]
        kept = (None, None, None) if gone else change
        said = f"{label} (withdrawn)" if gone else label
        rows.append((said, *levels, *kept, found.auc[name]))
    whose = "this job's held-out answers" if found.own_gold else "written example answers"
    return Table(
        columns=(*table.columns, "auc"),
        rows=tuple(rows),
        caption=f"{table.caption} AUC = how often {whose} show more of it than neutral rewrites "
        f"({found.gold} x {found.neutral} pairs); at 0.8 or below a marker is withdrawn.",
    )


def without_change(
    parts: Mapping[str, Mapping[str, float | None]], found: Trust | None
) -> dict[str, dict[str, float | None]]:
    """The levels of the voice index by characteristic; no change of one that is withdrawn."""
    gone = found is not None and found.withdrawn(VOICE)
    return {
        part: {name: value for name, value in row.items() if not (gone and "change" in name)}
        for part, row in parts.items()
    }


def judged_by(verdict: Verdict, name: str, found: Trust | None) -> Verdict:
    """An index that is withdrawn keeps its levels: its change is none, nor is there an interval."""
    if found is None or not found.withdrawn(name) or verdict.estimate is None:
        return verdict
    why = (
        "Withdrawn: the index does not tell written answers from neutral rewrites "
        f"(AUC {found.auc[name]:.2f}, {found.gold} x {found.neutral} pairs)."
    )
    gone = dict.fromkeys(("estimate", "ci_low", "ci_high", "improved"))
    return verdict.model_copy(update={**gone, "proves_nothing": why})
