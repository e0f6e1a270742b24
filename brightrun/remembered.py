"""What past jobs took, in place of physics: the parts of the next one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from brightrun.durations import PER_TOKEN, Observed, Part, Work, guess, units
from brightrun.jobs import Hyperparameters
from brightrun.learning import fit
from brightrun.physics import Machine, ModelProfile, Range
from brightrun.prices import CPU

BUSY_CPU = 2.5


def expected(
    work: Work,
    machine: Machine,
    model: ModelProfile,
    values: Hyperparameters,
    observed: Sequence[Observed],
) -> tuple[dict[Part, Range], int]:
    """Seconds of every part but saving and interruptions; how many past jobs speak.

    Where an earlier job has measured the baseline, the high end counts it all the same: a pod of
    another kind measures it again.
    """
    parts = guess(work, machine, model, values)
    key = (machine.key, model.name, values.precision)
    sizes, seen = units(work, machine, model, values), 0
    for part in parts:
        known = from_history(part, sizes.get(part, 1.0), key, observed)
        if known is not None:
            parts[part] = known[0]
            seen = max(seen, known[1] if part in ("training", "measuring") else 0)
    if work.known:
        whole, _ = expected(replace(work, known=frozenset()), machine, model, values, observed)
        less = parts["measuring"]
        parts["measuring"] = Range(less.low, less.likely, whole["measuring"].high)
    return parts, seen


def from_history(
    part: str, size: float, key: tuple[str, str, str], observed: Sequence[Observed]
) -> tuple[Range, int] | None:
    """Seconds of a part from past jobs with the same (machine, model, precision), and their n.

    observed: newest first; low and high: see `learning.fit`. On a CPU high is at least 2.5 x
    likely: another job may share the cores, and the hard limit that follows from it must not stop a
    healthy run.
    """
    past = [o for o in observed if o.part == part and (o.machine, o.model, o.precision) == key]
    grows = part in PER_TOKEN
    found = fit([(o.tokens if grows else 1.0, o.seconds) for o in past], size if grows else 1.0)
    if found is None:
        return None
    high = max(found.high, found.likely * BUSY_CPU) if key[0].startswith(CPU) else found.high
    return Range(found.low, found.likely, high), found.n


def basis(machine: Machine, seen: int) -> str:
    """Where the times come from, in words. seen: jobs that were remembered."""
    if seen:
        return f"history n={seen}"
    at = f", this machine at {machine.speed:.0%} of the reference" if machine.speed != 1.0 else ""
    return f"physics{at}"
