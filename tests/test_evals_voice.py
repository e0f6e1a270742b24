"""The voice index knows gold from a neutral rewrite and is not won by stuffing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_files import EQ12, answers_of

from evals.answers import recognises_gold
from evals.gold import gauge, gold_distance, read
from evals.sources import load_lexicons
from evals.voice import BANDS, UNCOVERED, Band

LEXICONS = load_lexicons()
# Position of a real answer in the sample, and the same facts told without the voice.
NEUTRAL = {
    6: "Three documents are required: a will that names guardians for the children, beneficiary "
    "designations on the retirement accounts, and powers of attorney. The trust is optional for "
    "most families with this profile. The will should be completed first. Guardians are named in "
    "the will, and the beneficiary forms are filed with the account provider.",
    13: "Estate planning begins with three documents. A will states who receives the assets and "
    "who cares for the children. A healthcare directive states who makes medical decisions. A "
    "power of attorney states who manages financial matters. Trusts apply to significant assets, "
    "probate avoidance or complex family situations. A lawyer is needed in some cases.",
    20: "An automatic extra principal payment of $1,000 can be configured on the servicer's "
    "website. The payment must be designated as principal. Contributions above the 6% match "
    "should go to the 401k up to the limit of $23,000, then to a Roth IRA up to $7,000, then to a "
    "taxable brokerage account. Gains in a taxable brokerage account are taxed every year.",
    27: "The guardian is named in the will and raises the child. The trustee manages the money. "
    "Different persons may hold the roles. A testamentary trust is created by the will and "
    "directs the assets to the trustee until the child reaches 25. The guardian requests funds "
    "and the trustee approves them. Co-trustees may be appointed.",
    31: "Half of the $1,500 goes to extra mortgage payments and half to investments. The mortgage "
    "is then paid in about 19 years instead of 27, saving $52,000 in interest, and the "
    "investments reach about $242,000. The ratio may be changed to 60/40 or 70/30. Employer "
    "401(k) matches should be captured before either payment.",
    34: "The offer consists of a $27K base increase, equity and a signing bonus. Negotiation is "
    "standard. At a valuation of $20 per share the 15,000 RSUs are worth $300,000 over four years "
    "on paper. Base salary should be negotiated before equity. Request $155K base and 18,000 "
    "RSUs. Leave the signing bonus of $25K unchanged unless the other terms are refused.",
}
STUFFED = (
    "I hear you, it sounds like you feel scared, ashamed, overwhelmed, worried, hopeful. "
    "That makes sense. You're not alone. It's completely normal. No judgment here. "
    "Progress over perfection. One small step. Let's walk through. At the same time, both are "
    "true. Would it be okay if I share? Would it be helpful if I explain? Money is emotional. "
    "That's a win. I can hear the fear. Because. For example. $5. $10. Your feelings are valid. "
    "I want to acknowledge. "
)


def index(text: str) -> float:
    return read(text, LEXICONS).voice.index


@pytest.fixture(scope="module")
def gold() -> list[str]:
    if not EQ12.exists():
        pytest.skip("the real sample is not beside this checkout")
    return answers_of(EQ12)


def test_gold_beats_its_neutral_rewrites(gold: list[str]) -> None:
    rewrites = [index(text) for text in NEUTRAL.values()]
    originals = [index(gold[position]) for position in NEUTRAL]
    assert all(a > b for a, b in zip(originals, rewrites, strict=True))
    auc = recognises_gold([index(text) for text in gold], rewrites)
    assert auc is not None
    assert auc > 0.8


def test_gold_lies_closer_to_gold_than_neutral_or_stuffed_text(gold: list[str]) -> None:
    reads = [read(text, LEXICONS) for text in gold]
    by = gauge(reads)
    assert by is not None
    own = gold_distance(reads)
    assert own is not None
    for text in (*NEUTRAL.values(), STUFFED, STUFFED * 5):
        assert by.distance(read(text, LEXICONS).markers) > own


def test_gold_is_measured_against_the_other_gold_answers(gold: list[str]) -> None:
    reads = [read(text, LEXICONS) for text in gold[:9]]
    each = []
    for position, item in enumerate(reads):
        by = gauge(reads[:position] + reads[position + 1 :])
        assert by is not None
        each.append(by.distance(item.markers))
    assert gold_distance(reads) == pytest.approx(sum(each) / len(each))
    assert gold_distance(reads[:2]) is None


@pytest.mark.parametrize("times", [1, 3, 10])
def test_a_stuffed_reply_does_not_beat_gold(gold: list[str], times: int) -> None:
    values = sorted(index(text) for text in gold)
    assert index(STUFFED * times) < values[len(values) // 4]


def test_every_lexicon_phrase_in_a_row_scores_near_nothing() -> None:
    everything = " ".join(LEXICONS.signature_phrases + LEXICONS.validation_phrases)
    assert index(everything) < 5


def test_an_empty_or_looping_answer_scores_low() -> None:
    assert index("") == 0
    assert index("That makes sense. " * 60) < 5


def test_the_ten_characteristics_of_the_profile_are_covered_or_named_as_not() -> None:
    path = Path(__file__).parents[1] / "evals/data/voice.json"
    keys = [c["key"] for c in json.loads(path.read_text())["characteristics"]]
    assert sorted(keys) == sorted([*BANDS, *UNCOVERED])


def test_a_band_rises_stays_and_falls() -> None:
    band = Band(1.0, 2.0, 4.0)
    assert [band.worth(x) for x in (0, 0.5, 1, 2, 3, 4, 9)] == [0, 0.5, 1, 1, 0.5, 0, 0]
    assert Band(0.0, 1.0, 5.0).worth(0) == 1
