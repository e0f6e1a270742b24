"""The 13 automatic markers: each is one number per text. An index, never a score out of 5.

Formulas are ours. W = number of words; "per 100" means hits / W x 100. Phrase lists stand in
evals/data/lexicons.json, are matched on word boundaries and never count a stretch of text twice.

 1 emotion_words           hits of emotion_words per 100
 2 emotion_first_sentence  1 when the first sentence holds an emotion word, else 0
 3 validation_phrases      hits of validation_phrases per 100
 4 length                  W
 5 empathy_before_advice   in the first third of the words: e / (e + a), e = emotion words and
                           validation phrases, a = advice cues; 0 when e = 0
 6 questions               sentences that end with a question mark
 7 signature_phrases       different signature_phrases
 8 unexplained_jargon      different jargon terms whose first use is not explained: no explanation
                           cue in its sentence or the next, no bracket or dash right beside it
 9 specific_numbers        amounts, percentages and counts per 100 (not list numbers, 988, 911,
                           24/7, or names such as 401(k) and 529)
10 both_and                hits of both_and_phrases per 100
11 perspective_taking      hits of perspective_phrases per 100
12 concrete_steps          hits of step_cues plus numbered or bulleted lines
13 time_frames             hits of time_frames plus "N days|weeks|months|years"

An empty text has 0 everywhere.
"""

from __future__ import annotations

import re

from evals.phrases import Hit, count, distinct, find, normalise, sentences, words
from evals.sources import Lexicons

Markers = dict[str, float]
LABELS: dict[str, str] = {
    "emotion_words": "Emotion words per 100 words",
    "emotion_first_sentence": "Emotion word in the first sentence (share)",
    "validation_phrases": "Validation phrases per 100 words",
    "length": "Length in words",
    "empathy_before_advice": "Empathy share of the cues in the first third",
    "questions": "Questions",
    "signature_phrases": "Different signature phrases",
    "unexplained_jargon": "Unexplained jargon terms",
    "specific_numbers": "Specific numbers per 100 words",
    "both_and": "Both/and phrases per 100 words",
    "perspective_taking": "Perspective-taking phrases per 100 words",
    "concrete_steps": "Concrete steps",
    "time_frames": "Time frames",
}
_LIST_LINE = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*\u2022])\s+", re.MULTILINE)
_NAMES = re.compile(
    r"\b(?:401\(?k\)?|403\(?b\)?|457\(?b\)?|529|1099(?:-\w+)?|w-[24]|83\(b\)|12b-1|24/7|988|911"
    r"|(?:1-)?800-[\w-]+|741741)(?!\w)"
)
_NUMBER = re.compile(r"(?<![\w.,])\$?\d[\d,]*(?:\.\d+)?(?:\s?%|[km]\b)?(?!\w)")
_SPAN = re.compile(r"\b\d+(?:\s?-\s?\d+|\s+to\s+\d+)?[\s-](?:hour|day|week|month|year)s?\b")


def measure(text: str, lexicons: Lexicons) -> Markers:
    """All 13 markers of one answer, in the order of LABELS."""
    plain = normalise(text)
    total = len(words(plain))
    if total == 0:
        return dict.fromkeys(LABELS, 0.0)

    def per_100(hits: int) -> float:
        return 100 * hits / total

    return {
        "emotion_words": per_100(count(plain, lexicons.emotion_words)),
        "emotion_first_sentence": float(
            count(sentences(plain)[0], lexicons.emotion_words) > 0
        ),
        "validation_phrases": per_100(count(plain, lexicons.validation_phrases)),
        "length": float(total),
        "empathy_before_advice": empathy_share(plain, lexicons),
        "questions": float(sum(s.rstrip("\"')]*_ ").endswith("?") for s in sentences(plain))),
        "signature_phrases": float(distinct(plain, lexicons.signature_phrases)),
        "unexplained_jargon": float(len(unexplained(plain, lexicons))),
        "specific_numbers": per_100(specific_numbers(plain)),
        "both_and": per_100(count(plain, lexicons.both_and_phrases)),
        "perspective_taking": per_100(count(plain, lexicons.perspective_phrases)),
        "concrete_steps": float(
            count(plain, lexicons.step_cues) + len(_LIST_LINE.findall(plain))
        ),
        "time_frames": float(time_frames(plain, lexicons)),
    }  # fmt: skip


def empathy_share(plain: str, lexicons: Lexicons) -> float:
    """Empathy cues / (empathy + advice cues) in the first third of the words."""
    matches = list(re.finditer(r"\S+", plain))
    third = plain[: matches[-(-len(matches) // 3) - 1].end()] if matches else ""
    empathy = count(third, lexicons.emotion_words) + count(third, lexicons.validation_phrases)
    advice = count(third, lexicons.advice_cues)
    return empathy / (empathy + advice) if empathy else 0.0


def unexplained(plain: str, lexicons: Lexicons) -> list[str]:
    """Jargon terms, sorted, whose first use comes without an explanation."""
    first: dict[str, Hit] = {}
    for hit in find(plain, lexicons.jargon):
        first.setdefault(hit.phrase, hit)
    return sorted(term for term, hit in first.items() if not _explained(plain, hit, lexicons))


def _explained(plain: str, hit: Hit, lexicons: Lexicons) -> bool:
    before, after = plain[: hit.start], plain[hit.end :]
    if re.search(r"\([\"'*]*(?:an?\s+|the\s+)?$", before) or re.match(
        r"[\"'*]*\s*(?:\(|[\u2013\u2014]|\s-\s)", after
    ):
        return True
    start = max(before.rfind(mark) for mark in (". ", "? ", "! ", "\n")) + 1
    around = sentences(plain[start:])[:2]
    return any(count(sentence, lexicons.explanation_cues) for sentence in around)


def specific_numbers(plain: str) -> int:
    """Numbers that say how much, how many or when."""
    return len(_NUMBER.findall(_NAMES.sub(" ", _LIST_LINE.sub("\n", plain))))


def time_frames(plain: str, lexicons: Lexicons) -> int:
    """Phrases of the list, plus "N days" and the like outside them."""
    rest = plain
    hits = find(plain, lexicons.time_frames)
    for hit in reversed(hits):
        rest = rest[: hit.start] + " | " + rest[hit.end :]
    return len(hits) + len(_SPAN.findall(rest))
