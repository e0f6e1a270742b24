"""For whoever writes the conversations: what was memorised, what hurts, what repeats, what is thin.

Memorised: its nats per token fell by more than those of the held-out conversations, by over 3 of
their standard deviations and over 0.2 nats (the rule is ours). Hurts: its adapter gradient points
against that of the held-out conversations (cosine below 0). Near duplicates: TF-IDF cosine of the
adviser's words of 0.8 and more, or 30 % and more of one's 8-word sequences in the other. Thin: an
arc with fewer than 5 training conversations.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from brightrun.modelnames import BASELINE, TRAINED
from brightrun.runfolder import RunFolder
from brightrun.verdicts import Table
from evals.contamination import SHORT, grams, tf_idf, words
from evals.measurements import Likelihood

TRAINING, INFLUENCE = "measurements/training.jsonl", "measurements/influence.jsonl"
MARGIN_SD, MARGIN_NATS = 3.0, 0.2
SIMILAR, CONTAINED = 0.8, 0.3
THIN = 5
# All pairs are compared: beyond so many conversations, the first ones.
MOST_COMPARED = 2000
SHOWN = 20
Cells = tuple[str, str, float]


def of_folder(
    folder: RunFolder, held_out: Sequence[tuple[Likelihood, Likelihood]]
) -> tuple[Table | None, dict[str, Any]]:
    """The table and what it rests on; held_out: (baseline, trained) rows."""
    if not folder.exists("data/train.jsonl"):
        return None, {}
    names, texts, arcs = _read(folder)
    probed = [Likelihood.model_validate(row) for row in folder.read_jsonl(TRAINING)]
    steps = folder.read_jsonl(INFLUENCE)
    found = {
        "memorised": memorised(probed, held_out),
        "hurts": hurting(steps),
        "near duplicate": duplicates(names, texts),
        "thin arc": thin(arcs),
    }
    facts = {
        "training_conversations": sum(arcs.values()),
        "read_for_memory": len(probed) // 2,
        "read_for_influence": len(steps),
        "compared_for_duplicates": len(names),
        "found": {kind: len(rows) for kind, rows in found.items()},
    }
    rows = tuple((kind, *row) for kind, some in found.items() for row in some[:SHOWN])
    return _table(rows, facts), facts


def _read(folder: RunFolder) -> tuple[list[str], list[list[str]], Counter[str]]:
    """Ids and advisers' words of the conversations that are compared, and all arcs' counts."""
    names: list[str] = []
    texts: list[list[str]] = []
    arcs, seen = Counter[str](), set[str]()
    for row in _rows(folder):
        name = str(row["conversation_id"])
        if name in seen:
            continue  # a further part of one that was split
        seen.add(name)
        arcs[str(row.get("arc", ""))] += 1
        if len(names) < MOST_COMPARED:
            said = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
            names.append(name)
            texts.append(words(" ".join(said)))
    return names, texts, arcs


def _rows(folder: RunFolder) -> Iterator[dict[str, Any]]:
    with folder.fs.open(folder.path("data/train.jsonl"), "rb") as lines:
        for line in lines:
            yield json.loads(line)


def memorised(
    probed: Sequence[Likelihood], held_out: Sequence[tuple[Likelihood, Likelihood]]
) -> list[Cells]:
    """(conversation, "", nats per token below what the held-out ones fell), the most first."""
    falls = [(b.nll - t.nll) / b.tokens for b, t in held_out if b.tokens]
    if len(falls) < 2:
        return []
    usual, spread = float(np.mean(falls)), float(np.std(falls, ddof=1))
    before = {row.conversation_id: row for row in probed if row.model == BASELINE}
    rows = []
    for row in probed:
        if row.model != TRAINED or not row.tokens:
            continue
        more = (before[row.conversation_id].nll - row.nll) / row.tokens - usual
        if more > max(MARGIN_SD * spread, MARGIN_NATS):
            rows.append((row.conversation_id, "", more))
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def hurting(steps: Sequence[dict[str, Any]]) -> list[Cells]:
    """(conversation, "", cosine), the worst first."""
    against = [(str(s["conversation_id"]), "", float(s["cosine"])) for s in steps]
    return sorted((row for row in against if row[2] < 0), key=lambda row: (row[2], row[0]))


def duplicates(names: Sequence[str], texts: Sequence[Sequence[str]]) -> list[Cells]:
    """(conversation, other one, the larger of cosine and containment), the closest first."""
    if len(names) < 2:
        return []
    weights = tf_idf(texts)
    alike = (weights @ weights.T).tocoo()
    close: dict[tuple[int, int], float] = {
        (int(a), int(b)): float(value)
        for a, b, value in zip(alike.row, alike.col, alike.data, strict=True)
        if a < b and value >= SIMILAR
    }
    short = [grams([text], SHORT) for text in texts]
    holders: dict[str, list[int]] = {}
    for number, some in enumerate(short):
        for gram in some:
            holders.setdefault(gram, []).append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for some_holders in holders.values():
        # A phrase that everybody uses is the voice, and no sign of a copy.
        if 2 <= len(some_holders) <= 10:
            shared.update(
                (a, b) for at, a in enumerate(some_holders) for b in some_holders[at + 1 :]
            )
    for (a, b), number in shared.items():
        part = number / min(len(short[a]), len(short[b]))
        if part >= CONTAINED:
            close[a, b] = max(close.get((a, b), 0.0), part)
    rows = [(names[a], names[b], value) for (a, b), value in close.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


def thin(arcs: Counter[str]) -> list[Cells]:
    """(arc, "", training conversations), the fewest first."""
    few = [(arc or "(none)", "", float(count)) for arc, count in arcs.items() if count < THIN]
    return sorted(few, key=lambda row: (row[2], row[0]))


def _table(
    rows: tuple[tuple[str, ...] | tuple[str, str, str, float], ...], facts: dict[str, Any]
) -> Table:
    return Table(
        columns=("finding", "conversation_or_arc", "other", "value"),
        rows=rows,
        caption=f"For whoever writes the conversations. Memorised: nats per token beyond what the "
        f"held-out ones fell ({facts['read_for_memory']} read). Hurts: cosine of its gradient with "
        f"the held-out ones' ({facts['read_for_influence']} read). Near duplicate: TF-IDF cosine "
        f"or share of {SHORT}-word sequences ({facts['compared_for_duplicates']} compared). Thin "
        f"arc: conversations of {facts['training_conversations']} (fewer than {THIN}). At most "
        f"{SHOWN} of each.",
    )
