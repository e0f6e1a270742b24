"""A marker that does not know a written answer from a neutral rewrite makes no claim."""

from __future__ import annotations

import pytest

from brightrun.verdicts import EvidenceKind, MetricName, Table, Verdict
from evals import honesty
from evals.gold import read
from evals.honesty import DISTANCE, VOICE, Trust
from evals.markers import LABELS
from evals.sources import load_lexicons

LEXICONS = load_lexicons()
REWRITES = honesty.load_rewrites()


def test_gold_beats_its_neutral_rewrites_or_the_marker_is_withdrawn() -> None:
    found = honesty.trust([], REWRITES, LEXICONS)
    assert found
    assert (found.gold, found.neutral, found.own_gold) == (20, 20, False)
    assert found.auc[VOICE] > 0.8
    assert found.auc[DISTANCE] > 0.8
    assert {n for n in LABELS if found.withdrawn(n)} >= {"specific_numbers", "both_and"}


def test_the_voice_index_does_not_rank_stuffing_above_written_answers() -> None:
    stuffed = " ".join([*LEXICONS.signature_phrases, *LEXICONS.validation_phrases] * 2)
    worst = read(stuffed, LEXICONS).voice.index
    beaten = sum(read(gold, LEXICONS).voice.index > worst for gold, _ in REWRITES)
    assert beaten == len(REWRITES)


def test_the_jobs_own_held_out_answers_are_used_when_there_are_enough() -> None:
    gold = [read(text, LEXICONS) for text, _ in REWRITES]
    assert honesty.trust(gold[:9], REWRITES, LEXICONS).own_gold is False  # type: ignore[union-attr]
    assert honesty.trust(gold[:10], REWRITES, LEXICONS).own_gold is True  # type: ignore[union-attr]
    assert honesty.trust(gold, [], LEXICONS) is None


def test_rewrites_keep_the_facts_and_take_no_phrase_of_eight_words_along() -> None:
    for gold, neutral in REWRITES:
        words = [w.lower().strip(".,;:!?\"'") for w in gold.split()]
        other = " ".join(w.lower().strip(".,;:!?\"'") for w in neutral.split())
        grams = (" ".join(words[i : i + 8]) for i in range(len(words) - 7))
        assert not any(gram in other for gram in grams), neutral


def test_a_withdrawn_marker_keeps_its_levels_and_loses_its_change() -> None:
    table = Table(
        columns=("marker", "baseline", "trained", "gold", "change", "change_low", "change_high"),
        rows=tuple((name, 1.0, 2.0, 3.0, 1.0, 0.5, 1.5) for name in (*LABELS, "v", "d")),
    )
    aucs = dict.fromkeys((*LABELS, VOICE, DISTANCE), 0.9) | {"length": 0.8}
    found = Trust(aucs, 20, 20, True)
    rows = {str(row[0]): row for row in honesty.marked(table, found).rows}
    assert rows["length (withdrawn)"][1:] == (1.0, 2.0, 3.0, None, None, None, 0.8)
    assert rows["questions"][4:] == (1.0, 0.5, 1.5, 0.9)


@pytest.mark.parametrize("improved", [True, False, None])
def test_a_withdrawn_index_keeps_its_levels_and_claims_no_change(improved: bool | None) -> None:
    verdict = Verdict(
        metric=MetricName.brand_voice, evidence=EvidenceKind.marker, n=20, n_clusters=20,
        baseline=40.0, trained=43.0, estimate=3.0, ci_low=1.0, ci_high=5.0, improved=improved,
        note="Index.",
    )  # fmt: skip
    gone = honesty.judged_by(verdict, VOICE, Trust({VOICE: 0.7}, 20, 20, True))
    assert (gone.baseline, gone.trained, gone.note) == (40.0, 43.0, "Index.")
    assert (gone.estimate, gone.ci_low, gone.ci_high, gone.improved) == (None,) * 4
    assert gone.proves_nothing == (
        "Withdrawn: the index does not tell written answers from neutral rewrites (AUC 0.70, "
        "20 x 20 pairs)."
    )
    assert honesty.judged_by(verdict, VOICE, Trust({VOICE: 0.9}, 20, 20, True)) == verdict
