"""What past jobs took, in place of physics: the parts of the next one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from brightrun.durations import Observed, Part, Work, guess, size_of, units
from brightrun.jobs import Hyperparameters
from brightrun.learning import Fit, Whole, fit, whole
from brightrun.physics import Machine, ModelProfile, Range, total
from brightrun.replay import Key, Past, busy, high_as_told, last_misses
from brightrun.replay import Part as PastPart


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds of every part but saving and interruptions, and of them together; tail: what hardly
    any healthy job exceeds; learned: parts that past jobs speak of; seen: how many speak of
    training or measuring."""

    parts: dict[Part, Range]
    whole: Range
    tail: float
    learned: frozenset[Part]
    seen: int


def expected(
    work: Work,
    machine: Machine,
    model: ModelProfile,
    values: Hyperparameters,
    observed: Sequence[Observed],
) -> Expected:
    """observed: newest first.

    Where an earlier job has measured the baseline, the high end counts it all the same: a pod of
    another kind measures it again.
    """
    key = (machine.key, model.name, values.precision)
    parts, known = guess(work, machine, model, values), {}
    sizes = units(work, machine, model, values)
    for part in parts:
        found = from_history(part, sizes.get(part, 1.0), key, observed)
        if found is not None:
            known[part], parts[part] = found, allowing_for_others(found, key)
    together, tail = in_all(parts, known, key, observed)
    if work.known:
        again = expected(replace(work, known=frozenset()), machine, model, values, observed)
        less = parts["measuring"]
        parts["measuring"] = Range(less.low, less.likely, again.parts["measuring"].high)
        together, tail = replace(together, high=again.whole.high), again.tail
    speaking = [known[part].n for part in ("training", "measuring") if part in known]
    return Expected(parts, together, tail, frozenset(known), max(speaking, default=0))


def from_history(part: str, size: float, key: Key, observed: Sequence[Observed]) -> Fit | None:
    """Seconds of a part from past jobs of the same kind; low and high: see `learning.fit`."""
    past = [o for o in observed if o.part == part and kind(o) == key]
    return fit([(o.size, o.seconds) for o in past], size_of(part, size))


def in_all(
    parts: dict[Part, Range], known: dict[Part, Fit], key: Key, observed: Sequence[Observed]
) -> tuple[Range, float]:
    """Seconds of all parts together, and their tail: those of past jobs as `learning.whole` says,
    then the rest, whose high by physics is wide enough for both."""
    rest = total([span for part, span in parts.items() if part not in known])
    if not known:
        return rest, rest.high
    found = whole(list(known.values()), last_misses(past_jobs(key, observed)))
    told = allowing_for_others(found, key)
    return rest + told, rest.high + max(told.high, found.tail, busy(found, key))


def allowing_for_others(found: Fit | Whole, key: Key) -> Range:
    return Range(found.low, found.likely, high_as_told(found, key))


def past_jobs(key: Key, observed: Sequence[Observed]) -> list[Past]:
    """Jobs of one kind, oldest first."""
    mine = [o for o in reversed(observed) if kind(o) == key and o.job_id]
    return [
        Past(job_id, key, tuple(PastPart(o.part, o.size, o.seconds) for o in parts))
        for job_id, parts in groupby(mine, key=lambda o: o.job_id)
    ]


def kind(past: Observed) -> Key:
    return past.machine, past.model, past.precision


def basis(machine: Machine, seen: int) -> str:
    """Where the times come from, in words. seen: jobs that were remembered."""
    if seen:
        return f"history n={seen}"
    at = f", this machine at {machine.speed:.0%} of the reference" if machine.speed != 1.0 else ""
    return f"physics{at}{', bf16 in hardware' if machine.bf16 else ''}"
