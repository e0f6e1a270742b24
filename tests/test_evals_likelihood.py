"""Perplexity: the arithmetic, the interval, the verdict."""

from __future__ import annotations

import math
import random

import pytest

from evals.likelihood import Pair, perplexity, score
from evals.measurements import Likelihood


def row(model: str, name: str, tokens: int, per_token: float, arc: str = "mixed") -> Likelihood:
    nll = tokens * per_token
    return Likelihood(
        model=model,
        conversation_id=name,
        arc=arc,
        nll=nll,
        tokens=tokens,
        nll_all=nll + 0.5,
        tokens_all=tokens + 2,
    )


def pairs(n: int, change: float, *, spread: float = 0.0, base: float = 3.0) -> list[Pair]:
    rng = random.Random(5)
    found = []
    for i in range(n):
        tokens = 50 + 37 * (i % 7)
        noise = rng.uniform(-spread, spread)
        found.append(
            (
                row("baseline", f"c{i}", tokens, base, f"arc{i % 2}"),
                row("trained", f"c{i}", tokens, base + change + noise, f"arc{i % 2}"),
            )
        )
    return found


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    for vocabulary in (49152, 128256):
        found, table, _ = score(pairs(6, 0.0, base=math.log(vocabulary)), target=-0.3, seed=1)
        assert found.baseline == pytest.approx(vocabulary)
        assert table.rows[0][4] == pytest.approx(vocabulary)


def test_thirty_percent_lower_is_0_357_nats_per_token() -> None:
    found, _, facts = score(pairs(8, math.log(0.7)), target=-0.30, seed=1)
    assert found.estimate == pytest.approx(-0.30)
    assert facts["nats_per_token_change"] == pytest.approx(-0.3567, abs=1e-4)


def test_tokens_weigh_not_conversations() -> None:
    long = (row("baseline", "a", 900, 2.0), row("trained", "a", 900, 1.0))
    short = (row("baseline", "b", 100, 2.0), row("trained", "b", 100, 3.0))
    found, _, _ = score([long, short], target=-0.3, seed=1)
    assert found.estimate == pytest.approx(math.exp(-0.8) - 1)
    assert found.n == 1000


def test_a_change_near_the_target_is_inconclusive_and_says_how_many_would_settle_it() -> None:
    found, _, _ = score(pairs(12, math.log(0.68), spread=0.3), target=-0.30, seed=1)
    assert found.improved is True
    assert found.target_met == "inconclusive"
    assert found.n_needed is not None
    assert found.n_needed > 12


def test_too_small_a_change_fails() -> None:
    found, _, _ = score(pairs(12, -0.1, spread=0.02), target=-0.30, seed=1)
    assert (found.improved, found.target_met, found.n_needed) == (True, "fail", None)


def test_a_worse_model_is_called_worse() -> None:
    found, _, _ = score(pairs(12, 0.2, spread=0.02), target=-0.30, seed=1)
    assert (found.improved, found.target_met) == (False, "fail")


def test_the_bootstrap_stands_beside_the_t_interval_and_agrees_for_many_conversations() -> None:
    found, _, facts = score(pairs(60, -0.4, spread=0.2), target=-0.30, seed=1)
    assert [found.ci_low, found.ci_high] == facts["ci_t"]
    assert facts["ci_t"] == pytest.approx(facts["ci_bootstrap"], abs=0.01)


def test_a_bootstrap_of_few_conversations_is_shorter() -> None:
    found, _, facts = score(pairs(12, -0.4, spread=0.2), target=-0.30, seed=1)
    assert [found.ci_low, found.ci_high] == facts["ci_t"]
    low, high = facts["ci_bootstrap"]
    assert facts["ci_t"][0] < low < high < facts["ci_t"][1]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_under_five_conversations_nothing_is_concluded(n: int) -> None:
    found, table, _ = score(pairs(n, -1.0, spread=0.01), target=-0.30, seed=1)
    assert (found.target_met, found.improved) == ("inconclusive", None)
    assert f"Only {n} held-out" in found.note
    alone = [r for r in table.rows if r[0] == "conversation"]
    assert len(alone) == n
    assert {r[6:] for r in alone} == {(None, None, None)}
    assert all(None not in r for r in table.rows if r[2] > 1)
    assert "evidence: measurement" in table.caption


def test_no_tokens_is_not_measured() -> None:
    found, table, _ = score([], target=-0.30, seed=1)
    assert (found.target_met, found.estimate, table.rows) == ("not_measured", None, ())
    with pytest.raises(ValueError, match="no tokens"):
        perplexity(1.0, 0)
