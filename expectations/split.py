"""Which conversations are held out: by conversation, stratified by arc, seeded."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from brightrun.conversations import RowFacts
from brightrun.errors import DatasetError


def held_out(rows: Sequence[RowFacts], share: float, seed: int) -> frozenset[int]:
    """Indexes (1-based over the file) of the validation conversations.

    Every arc with two or more conversations keeps at least one in training; an arc with one is
    held out only when nothing else can be. No valid file has one twice. The choice
    depends on ids and seed, not on the file's order. DatasetError when there are fewer than two
    conversations to split.
    """
    if len(rows) < 2:
        raise DatasetError(
            f"{len(rows)} conversation with an answer to train on cannot be split",
            fault="cannot_split",
        )
    arcs: dict[str, list[RowFacts]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _draw(row, seed)):
        arcs[row.arc].append(row)
    most = {arc: len(arcs[arc]) - 1 for arc in arcs}
    wanted = min(len(rows) - 1, max(1, round(len(rows) * share)))
    quota = {arc: len(members) * share for arc, members in arcs.items()}
    taken = {arc: min(int(quota[arc]), most[arc]) for arc in arcs}
    while sum(taken.values()) < wanted:
        free = [arc for arc in arcs if taken[arc] < most[arc]]
        free = free or [arc for arc in arcs if len(arcs[arc]) == 1 and not taken[arc]]
        if not free:
            break
        # Largest remainder; ties go to the arc with more conversations, then by name.
        best = max(free, key=lambda arc: (quota[arc] - taken[arc], len(arcs[arc]), arc))
        taken[best] += 1
    return frozenset(row.index for arc, n in taken.items() for row in arcs[arc][:n])


def _draw(row: RowFacts, seed: int) -> str:
    text = f"{seed}:{row.conversation_id}:{row.index if not row.conversation_id else ''}"
    return hashlib.sha256(text.encode()).hexdigest()
