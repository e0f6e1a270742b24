"""The bench of real local jobs: which part of an error is the estimator's."""

from __future__ import annotations

import random

import pytest

from benches.history import at_one_pace
from brightrun.backtest import backtest
from brightrun.replay import Part, Past


def job(chance: random.Random, number: int) -> Past:
    """Work in proportion to its tokens; what else runs makes all of it take up to twice as much."""
    tokens, pace = chance.uniform(1e4, 5e4), chance.uniform(1, 2)
    sizes = {"training": tokens, "finalization": 1.0}
    worked = {"training": 4e-4 * tokens * pace, "finalization": 6.0 * pace}
    parts = tuple(Part(n, sizes[n], worked[n], None, worked[n]) for n in sizes)
    return Past(f"j{number}", ("cpu/2", "tiny", "nf4"), parts)


def test_at_one_pace_only_what_the_estimator_gets_wrong_is_left() -> None:
    chance = random.Random(2)
    jobs = [job(chance, number) for number in range(30)]
    paced, raw = at_one_pace(jobs), backtest(jobs).in_cpu_seconds
    assert (paced["n"], raw.n) == (29, 29)
    assert raw.p90 is not None
    assert raw.p90 > 0.2
    assert paced["p90"] == pytest.approx(0, abs=1e-9)
    spread = paced["finalization_cpu_s"]
    assert spread["most"] > 1.5 * spread["least"]
    wrong = [
        j._replace(parts=tuple(p._replace(units=1.0) for p in j.parts)) for j in jobs
    ]  # a size that says nothing
    assert at_one_pace(wrong)["p90"] > 0.1
    assert at_one_pace([])["n"] == 0
