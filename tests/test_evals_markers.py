"""The 13 markers: each counts what its formula says, on words, not on letters."""

from __future__ import annotations

import pytest
from training_files import EQ12, answers_of

from evals.markers import LABELS, measure, unexplained
from evals.phrases import count, find, normalise
from evals.sources import Lexicons, load_lexicons

LEXICONS = load_lexicons()
EXAMPLE = (
    "I hear how scared you are, and that makes sense. You\u2019re not alone. "
    "First, look at the APR, which means the yearly price of the debt. "
    "Put $40 a week aside for 3 months. Would it be okay if I showed you how?"
)


def own(**lists: tuple[str, ...]) -> Lexicons:
    """Lexicons in which every list but the given ones holds a word that no text has."""
    names = Lexicons.model_fields
    return Lexicons(**{name: lists.get(name, ("zzz",)) for name in names})


def marker(text: str, name: str, lexicons: Lexicons = LEXICONS) -> float:
    return measure(text, lexicons)[name]


def test_there_are_thirteen_and_an_empty_text_has_none() -> None:
    assert len(LABELS) == 13
    assert measure(" \n ", LEXICONS) == dict.fromkeys(LABELS, 0.0)


def test_a_worked_example_has_the_values_counted_by_hand() -> None:
    lists = own(
        emotion_words=("scared", "alone"),
        validation_phrases=("makes sense", "you're not alone"),
        advice_cues=("look at",),
        jargon=("apr",),
        explanation_cues=("which means",),
        signature_phrases=("would it be okay if",),
        perspective_phrases=("i hear",),
        step_cues=("first,",),
        time_frames=("this week",),
    )
    found = measure(EXAMPLE, lists)
    words = 43
    assert found["length"] == words
    assert found["emotion_words"] == pytest.approx(100 * 2 / words)
    assert found["validation_phrases"] == pytest.approx(100 * 2 / words)
    assert found["emotion_first_sentence"] == 1
    assert found["empathy_before_advice"] == 1
    assert found["questions"] == 1
    assert found["signature_phrases"] == 1
    assert found["unexplained_jargon"] == 0
    assert found["specific_numbers"] == pytest.approx(100 * 2 / words)
    assert found["both_and"] == 0
    assert found["perspective_taking"] == pytest.approx(100 / words)
    assert found["concrete_steps"] == 1
    assert found["time_frames"] == 1


def test_curly_and_straight_apostrophes_are_the_same() -> None:
    curly = EXAMPLE
    straight = EXAMPLE.replace("\u2019", "'")
    assert measure(curly, LEXICONS) == measure(straight, LEXICONS)


def test_phrases_match_whole_words_once() -> None:
    assert count(normalise("In April the aprs"), ("apr",)) == 0
    assert count(normalise("savings account"), ("savings", "savings account")) == 1
    assert count(normalise("It makes  \n sense"), ("makes sense",)) == 1
    assert [hit.phrase for hit in find(normalise("Call 911, not $1,911 or 911.50"), ("911",))] == [
        "911"
    ]


def test_advice_first_lowers_the_empathy_share() -> None:
    lists = own(emotion_words=("scared",), advice_cues=("start with",))
    rest = " and then some words follow that are about something else entirely, for long"
    assert marker("You are scared, start with one bill" + rest * 2, "empathy_before_advice", lists)
    assert marker("Start with one bill" + rest + " scared", "empathy_before_advice", lists) == 0
    mixed = marker("Start with this if scared" + rest, "empathy_before_advice", lists)
    assert mixed == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Buy an ETF today.", ["etf"]),
        ("Buy an ETF, which means a basket of shares.", []),
        ("Buy an ETF (a basket of shares).", []),
        ("Buy a basket of shares (an ETF).", []),
        ("Buy an ETF. Think of it as a basket.", []),
        ("Buy an ETF. It is late. Think of it as a basket.", ["etf"]),
        ("An ETF \u2014 a basket \u2014 is fine. The ETF wins.", []),
    ],
)
def test_jargon_counts_unless_its_first_use_is_explained(text: str, expected: list[str]) -> None:
    lists = own(jargon=("etf", "etfs"), explanation_cues=("which means", "think of"))
    assert unexplained(normalise(text), lists) == expected


def test_names_and_list_numbers_are_no_specific_numbers() -> None:
    text = "1. Your 401(k)\n2. a 529, a 401k, call 988 or 911, open 24/7"
    assert marker(text, "specific_numbers") == 0
    assert measure("Put $1,200.50 or 5% by the 3 cards", LEXICONS)["specific_numbers"] > 0
    assert marker(text, "concrete_steps") >= 2


def test_time_spans_count_once() -> None:
    lists = own(time_frames=("in 30 days",))
    assert marker("Pay in 30 days, then in 6 weeks, then 3-4 months.", "time_frames", lists) == 3


def test_gold_is_not_flooded_by_a_marker(gold: list[str]) -> None:
    """A marker that is always 0 or always saturated on real answers would say nothing."""
    for name in LABELS:
        values = [marker(text, name) for text in gold]
        assert len(set(values)) > 1, name


@pytest.fixture(scope="module")
def gold() -> list[str]:
    if not EQ12.exists():
        pytest.skip("the real sample is not beside this checkout")
    return answers_of(EQ12)
