"""Blind rating sheets: which answer stands where, drawn by seed, and the key that says whose it is.

Per rater every scenario stands once, each model as A in exactly half of the items (one more or
less when the number is odd). Raters 2, 4, ... see rater 1's, 3's, ... sides mirrored in an order
of their own, so that over a pair of raters each scenario is seen both ways. A few items come back
later with their sides changed (hidden duplicates): they measure a rater's constancy and count for
nothing else. Brand voice is asked for at most 30 scenarios, the same for all raters.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from brightrun.basemodels import ALIASES
from brightrun.modelnames import MODELS
from evals.sources import DATA

VOICE_ITEMS = 30
GUESSES = 10
FEWEST_FOR_DUPLICATES = 6
# What a model may say of itself, or of its maker, would end the blindness.
_SELF = re.compile(
    r"\b(?:SmolLM\d*|Llama[- ]?\d[\w.-]*|Llama|Hugging[\s-]?Face(?:TB)?|Meta\s?AI|ChatGPT|OpenAI|"
    r"Anthropic|Mi[sx]tral(?: AI)?|Qwen\d*|Alibaba Cloud|DeepSeek|DeepMind|Google Gemini|"
    r"(?:GPT|Gemma|Phi|Claude|Gemini)[- ]?\d[\w.-]*)\b",
    re.IGNORECASE,
)
# Words that may be a client's name, or any word: masked where a model says who it is.
_FAMILIES = ("Claude", "Gemini", "Gemma", "Phi")
_SAYS = r"\b((?:I am|I['\u2019]m|my name is|called|named|known as)\s+)"
_MASK = "[name]"
# Set, rater, position.
ITEM_ID = re.compile(r"([0-9a-f]{8})-R(\d+)-(\d{3,})")


@dataclass(frozen=True, slots=True)
class Item:
    """One row of one rater's sheet. repeat: a hidden duplicate; guess: asked about at the end."""

    item: str
    scenario_id: str
    a: str
    b: str
    voice: bool
    guess: bool
    repeat: bool

    def model(self, side: str) -> str:
        return self.a if side == "A" else self.b


@dataclass(frozen=True, slots=True)
class Rubric:
    """dimensions and voice: [{key, name, question, anchors{1,3,5}}]; groups: name -> dimensions."""

    dimensions: tuple[dict[str, Any], ...]
    voice: tuple[dict[str, Any], ...]
    groups: dict[str, tuple[str, ...]]

    @property
    def dimension_keys(self) -> tuple[str, ...]:
        return tuple(d["key"] for d in self.dimensions)

    @property
    def voice_keys(self) -> tuple[str, ...]:
        return tuple(f"voice_{c['key']}" for c in self.voice)


def load_rubric(data: Path = DATA) -> Rubric:
    """The human rubric (evals/data/rubric.json) with the voice characteristics (voice.json)."""
    rubric = json.loads((data / "rubric.json").read_text(encoding="utf-8"))
    voice = json.loads((data / "voice.json").read_text(encoding="utf-8"))
    return Rubric(
        dimensions=tuple(rubric["dimensions"]),
        voice=tuple({"question": "", **c} for c in voice["characteristics"]),
        groups={name: tuple(keys) for name, keys in rubric["groups"].items()},
    )


def set_id(answers: Mapping[tuple[str, str], str], seed: int) -> str:
    """Names a set of sheets: other answers or another seed, another set. Tells no model."""
    rows = sorted((*key, text) for key, text in answers.items())
    return hashlib.sha256(json.dumps([seed, rows]).encode()).hexdigest()[:8]


def voiced(scenario_ids: Sequence[str], seed: int) -> list[str]:
    """The scenarios whose answers are asked about voice: at most 30, the same for all judges."""
    names = sorted(scenario_ids)
    draw = random.Random(f"{seed}/voice")  # noqa: S311 - a sample, not a secret
    return draw.sample(names, min(VOICE_ITEMS, len(names)))


def sheet(rater: int, scenario_ids: Sequence[str], sheets: str, seed: int) -> tuple[Item, ...]:
    """The items of one rater in the order shown. Same arguments, same items.

    sheets: the set's id, which also seeds order and sides; seed: the job's, which draws the voice.
    """
    pair, mirrored = (rater + 1) // 2, rater % 2 == 0
    sides = random.Random(f"{sheets}/sides/{pair}")  # noqa: S311 - an order, not a secret
    order = random.Random(f"{sheets}/order/{rater}")  # noqa: S311
    names = sorted(scenario_ids)
    first = [MODELS[(i + mirrored) % 2] for i in range(len(names))]
    sides.shuffle(first)  # the same shuffle for both of a pair: mirrored item by item
    asked = set(voiced(names, seed))
    shown = list(zip(names, first, strict=True))
    order.shuffle(shown)
    guessed = _balanced(order, shown, min(GUESSES, len(shown)) // 2)
    rows = [(name, a, False) for name, a in shown]
    for name, a in _duplicated(order, shown):
        # Far from its first showing: somewhere in the last third, sides changed.
        place = order.randint(len(rows) - len(shown) // 3, len(rows))
        rows.insert(place, (name, _other(a), True))
    return tuple(
        Item(
            item=f"{sheets}-R{rater}-{position:03d}",
            scenario_id=name,
            a=a,
            b=_other(a),
            voice=name in asked and not again,
            guess=name in guessed and not again,
            repeat=again,
        )
        for position, (name, a, again) in enumerate(rows, start=1)
    )


def rater_of(item: str) -> int:
    """Whose sheet an item id stands on; 0: it is none."""
    shape = ITEM_ID.fullmatch(item)
    return int(shape[2]) if shape else 0


def _other(model: str) -> str:
    return MODELS[1 - MODELS.index(model)]


def _balanced(draw: random.Random, shown: Sequence[tuple[str, str]], each: int) -> set[str]:
    """`each` scenarios with either model as A."""
    found: set[str] = set()
    for model in MODELS:
        names = [name for name, a in shown if a == model]
        found.update(draw.sample(names, min(each, len(names))))
    return found


def _duplicated(draw: random.Random, shown: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """About a tenth of the items, as many of either side, from the first half of the sheet."""
    if len(shown) < FEWEST_FOR_DUPLICATES:
        return []
    each = max(1, round(len(shown) / 20))
    early = _balanced(draw, shown[: max(4, len(shown) // 2)], each)
    chosen = [(name, a) for name, a in shown if name in early]
    by_side = [[row for row in chosen if row[1] == model] for model in MODELS]
    fewest = min(len(rows) for rows in by_side)
    return [row for rows in by_side for row in rows[:fewest]]


def key_of(items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """item id -> whose answers A and B are, as it is written into the key file."""
    return {i.item: {k: v for k, v in asdict(i).items() if k != "item"} for i in items}


def from_key(rows: Mapping[str, Mapping[str, Any]]) -> tuple[Item, ...]:
    return tuple(Item(item=name, **row) for name, row in rows.items())


def key_bytes(key: Mapping[str, Any]) -> bytes:
    return (json.dumps(key, indent=1, sort_keys=True) + "\n").encode()


def masked(text: str, base: str = "") -> str:
    """An answer without names of models and their makers, nor that of its own base model."""
    families, whole = _FAMILIES, ""
    if base and base not in ALIASES:
        parts = re.split(r"[-_\s]+", Path(base.partition("@")[0]).name.removesuffix(".gguf"))
        families += tuple(re.findall(r"^[^\W\d_]{2,}", parts[0]))
        for part in parts[:0:-1]:  # Foo-7B-Chat: Foo 7B, and what follows if it is there
            whole = rf"[-_\s]?{re.escape(part)}(?:{whole})?"
        whole = whole and rf"\b{re.escape(parts[0])}{whole}\b"
    text = re.sub(whole, _MASK, text, flags=re.IGNORECASE) if whole else text
    said = re.sub(rf"{_SAYS}(?:{'|'.join(families)})\b", rf"\1{_MASK}", text, flags=re.IGNORECASE)
    return _SELF.sub(_MASK, said)
