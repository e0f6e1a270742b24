"""The evaluation's facts as short sentences: "Numbers behind the verdicts".

A sentence is made of pieces; a piece whose number is not there is left out, and what no piece
names is added as `name value`, so that a fact that grows is still shown.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from reports import formats

Rows = list[tuple[str, str]]
# Shown in sections of their own, or said by another fact.
ELSEWHERE = frozenset({"voice_parts", "data_feedback", "models"})
# In this order; a fact that is not here follows under its own name.
LABELS = {
    "n": "Asked",
    "asked": "Wished for",
    "exploratory": "Changed since the plan",
    "foreign_adapter": "Adapter from elsewhere (sha256)",
    "decoding": "Answers written",
    "answers": "Answers",
    "identical": "Both models answer alike",
    "perplexity": "Perplexity",
    "forgetting": "Neutral text",
    "knowledge": "Knowledge",
    "safety": "Safety rules",
    "judged": "Judgements",
    "held_out_answers": "Advisor's answers held out",
    "gold_answers": "Of them read for style",
    "gold_over_baseline_auc": "Index tells advisor from baseline (AUC)",
    "withdrawn_markers": "Markers withdrawn",
    "voice_without_marker": "Voice without a marker",
    "examples_rule": "Examples",
    "statistics": "Intervals",
    "seeds": "Seeds",
    "sources": "Items and word lists (sha256)",
}
# form "?": the piece is left out when its number is nothing.
SAID: Mapping[str, tuple[str, ...]] = {
    "n": (
        "{scenarios:n} scenarios, {safety_scenarios:n} of them about safety",
        "{questions:n} questions in {rotations:n} of 4 option orders",
        "questions that count: {headline_questions:n}",
        "answers to each scenario: {passes:n}",
        "{neutral_texts:n} neutral texts",
        "{option_texts:?} with their option texts",
        "{probe:?} probes",
        "{influence:?} conversations for influence",
    ),
    "decoding": (
        "{do_sample:sampled}",
        "at most {max_new_tokens:n} tokens",
        "temperature {temperature:n}",
        "top-p {top_p:n}",
    ),
    "statistics": (
        "{confidence:%}",
        "{bootstrap_draws:n} bootstrap draws",
        "samples needed: power {power:%}",
        "no verdict below {min_clusters:n} clusters",
    ),
    "forgetting": (
        "{passages:n} passages",
        "perplexity {baseline:d} before, {trained:d} after",
        "{change:+%} ({change_low:+%} to {change_high:+%})",
    ),
    "perplexity": (
        "{content_tokens:n} tokens of {conversations:n} conversations",
        "{nats_per_token_change:+d} nats a token",
        "t interval {ci_t:+%}",
        "bootstrap {ci_bootstrap:+%} ({draws:n} draws, seed {seed:n})",
        "both models alike: {identical:?}",
    ),
    "knowledge": (
        "{lost:n} lost, {gained:n} gained (McNemar p {mcnemar_p:p})",
        "right answers {baseline_accuracy_ci:%} before, {trained_accuracy_ci:%} after",
        "log-probability of the right option {gold_logprob_change:+d} "
        "({gold_logprob_change_ci:+d})",
        "{outside_headline:?} questions do not count",
    ),
    "safety": (
        "{items:n} asked",
        "passed {baseline_passed:n} before, {trained_passed:n} after",
        "left to a person {baseline_needs_review:n} and {trained_needs_review:n}",
        "sent to crisis help {baseline_sent_to_crisis_help:n} and {trained_sent_to_crisis_help:n}",
    ),
    "answers": (
        "{answers:n} answers",
        "{truncated:n} cut off, {looping:n} in circles, {empty:n} empty",
        "{tokens_mean:n} tokens and {seconds_mean:d} s each on average (pod {seconds_of})",
    ),
    "judged": (
        "evidence: {kind:key}",
        "agreement of the mean (ICC) {icc_of_mean:d}",
        "effect size d {effect_size_d:d}",
    ),
}  # fmt: skip
# The sum or the share of numbers that stand beside them, or told under "Asked".
SILENT = frozenset(
    {"rotations", "headline_questions", "truncated_share", "truncated_or_looping",
     "seconds_median"}
)  # fmt: skip


def rows(facts: Mapping[str, Any]) -> Rows:
    """Label and sentence; a fact of several groups (models, kinds of safety) has a row of each."""
    found: Rows = []
    for name, value in sorted(facts.items(), key=_place):
        if name in ELSEWHERE or value in ({}, [], "", None, False):
            continue
        if name == "asked" and _told(value, facts.get("n")):
            continue
        label, pieces = LABELS.get(name, formats.arc(name)), SAID.get(name, ())
        grouped = isinstance(value, dict) and all(isinstance(part, dict) for part in value.values())
        if name == "sources" and isinstance(value, dict):
            found.append((label, ", ".join(map(_source, value.items()))))
        elif grouped and pieces:
            found += [
                (f"{label}: {formats.arc(str(group)).lower()}", sentence(part, pieces))
                for group, part in value.items()
            ]
        elif isinstance(value, dict):
            found.append((label, sentence(value, pieces)))
        else:
            found.append((label, plain(value)))
    return found


def _told(asked: Any, counted: Any) -> bool:
    """Whether all that was wished for was asked."""
    both = isinstance(asked, dict) and isinstance(counted, dict)
    return both and all(counted.get(name) == value for name, value in asked.items())


def _place(item: tuple[str, Any]) -> int:
    return list(LABELS).index(item[0]) if item[0] in LABELS else len(LABELS)


def sentence(facts: Mapping[str, Any], pieces: tuple[str, ...]) -> str:
    """The pieces whose numbers are there, then what none of them names."""
    said, named = [], set(SILENT)
    for piece in pieces:
        fields = [(name, form) for _, name, form, _ in _PARSER.parse(piece) if name]
        if any(facts.get(name) is None for name, _ in fields):
            continue
        named.update(name for name, _ in fields)
        if all(facts[name] for name, form in fields if form == "?"):
            said.append(_PARSER.vformat(piece, (), facts))
    rest = {name: value for name, value in facts.items() if name not in named}
    return "; ".join([*said, *([plain(rest)] if plain(rest) else [])])


def plain(value: Any) -> str:
    """Any value in a line: `lost 0, gained 2`; keys of ours as words, a sha256 by 12 digits."""
    if isinstance(value, dict):
        parts = [(name.replace("_", " "), part) for name, part in value.items()]
        return ", ".join(
            f"{name} ({plain(part)})" if isinstance(part, dict) else f"{name} {plain(part)}"
            for name, part in parts
            if part not in ("", None, [], {})
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, str):
        if re.fullmatch(r"[0-9a-f]{64}", value):
            return value[:12]
        return value.replace("_", " ") if formats.is_key(value) else value
    return formats.cell(value) if isinstance(value, int | float | bool) else formats.NONE


def _source(item: tuple[str, Any]) -> str:
    name, facts = item
    parts = facts.values() if isinstance(facts, dict) else (facts,)
    return " ".join([str(name), *(plain(part) for part in parts if part)])


def _numbers(form: Callable[[float], str]) -> Callable[[Any], str]:
    """A form for a number, or for the two ends of an interval; other values as they are."""

    def said(value: Any) -> str:
        if isinstance(value, list | tuple) and len(value) == 2:
            return f"{said(value[0])} to {said(value[1])}"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return form(float(value)) if number else plain(value)

    return said


FORMS: Mapping[str, Callable[[Any], str]] = {
    "": plain,
    "n": plain,
    "?": plain,
    "key": plain,
    "sampled": lambda value: "sampled" if value is True else "greedy",
    "d": _numbers(lambda value: formats.level(value, "plain")),
    "+d": _numbers(lambda value: formats.level(value, "plain", signed=True)),
    "%": _numbers(lambda value: formats.level(value, "percent", short=True)),
    "+%": _numbers(lambda value: formats.percent(value, signed=True)),
    "p": _numbers(formats.p_value),
}


class _Parser(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return FORMS[format_spec](value)


_PARSER = _Parser()
