"""Before and after: a client's words, both answers beside each other, differences pointed out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from brightrun.verdicts import NO_TABLE, Example, Mark, Table
from reports import aspects, formats
from reports.blocks import array, strings, twin
from reports.escape import Markdown, html, paragraphs, typst

WHY = {
    "best": "among the best by voice index",
    "worst": "among the worst by voice index",
    "random": "drawn at random",
    "safety": "safety scenario",
    "asked": "asked for by name",
}
LEGEND = (
    ("emotion", "emotion named or feeling accepted"),
    ("jargon", "jargon without an explanation"),
    ("step", "concrete step"),
    ("figure", "amount or percentage"),
)
# Private characters stand for the ends of a mark while the text is escaped.
_BEGIN = {"emotion": "\ue0f0", "jargon": "\ue0f1", "step": "\ue0f2", "figure": "\ue0f4"}
_END = "\ue0f3"
_KIND = {sign: kind for kind, sign in _BEGIN.items()}
_SIGNS = re.compile("[\ue0f0-\ue0f4]")


def marked(text: str, marks: Sequence[Mark]) -> str:
    """The text with signs around its marks; signs that it brought along itself are taken out.

    Marks that do not fit the text are left out: a highlight is never worth a wrong word.
    """
    if _SIGNS.search(text):
        return _SIGNS.sub("\ufffd", text)
    parts, at = [], 0
    for mark in sorted(marks, key=lambda m: m.start):
        if mark.start < at or mark.end <= mark.start or mark.end > len(text):
            continue
        stretch = text[mark.start : mark.end]
        if "\n" not in stretch and "\r" not in stretch:
            parts += [text[at : mark.start], _BEGIN[mark.kind], stretch, _END]
            at = mark.end
    return "".join([*parts, text[at:]])


def segments(line: str) -> list[tuple[str, str]]:
    """(kind or "", text) of a line with signs; none of them is empty."""
    found, kind = [], ""
    for part in re.split("([\ue0f0-\ue0f4])", line):
        if part in _KIND:
            kind = _KIND[part]
        elif part == _END:
            kind = ""
        elif part:
            found.append((kind, part))
    return found


def _line_html(line: str) -> str:
    return "".join(
        f'<mark class="{kind}">{html(text)}</mark>' if kind else html(text)
        for kind, text in segments(line)
    )


def answer_html(text: str, marks: Sequence[Mark] = ()) -> str:
    body = "".join(
        f'<p dir="auto">{"<br>".join(_line_html(line) for line in lines)}</p>'
        for lines in paragraphs(marked(text, marks))
    )
    return body or '<p class="empty">(empty answer)</p>'


def answer_typst(text: str, marks: Sequence[Mark] = ()) -> str:
    """Paragraphs of lines of (kind, text)."""
    return array(
        array(array(strings(segment) for segment in segments(line)) for line in lines)
        for lines in paragraphs(marked(text, marks))
    )


def legend() -> Markdown:
    """What the colours and lines under words mean."""
    shown = " · ".join(f'<mark class="{kind}">{html(words)}</mark>' for kind, words in LEGEND)
    return twin(
        f'<p class="notes">Pointed out by a program: {shown}</p>',
        f"#br-legend({array(strings(item) for item in LEGEND)})",
    )


def example(number: int, item: Example, words: dict[str, str], wrong: Table = NO_TABLE) -> Markdown:
    """One scenario: the client's words, then both answers beside each other; what raters said."""
    reason = WHY.get(item.why, item.why)
    title = f"{number}. {formats.arc(item.arc) or 'Scenario'}"
    about = " · ".join(x for x in (formats.arc(item.persona), item.scenario_id, reason) if x)
    said = [formats.prose(note) for note in item.notes]
    judged = aspects.rulings(item, wrong)
    counted = "".join(
        f'<p class="notes">{who}: {html("; ".join(lines))}</p>'
        for who, lines in (("A program counted", said), ("Financial accuracy", judged))
        if lines
    )
    before = aspects.pointed_out(item.baseline, item.baseline_marks)
    after = aspects.pointed_out(item.trained, item.trained_marks)
    return twin(
        f'<article class="example"><header><h3>{html(title)}</h3><p>{html(about)}</p></header>'
        f'<blockquote><p class="label">{html(words["client"])}</p>'
        f"{answer_html(item.client_message)}</blockquote>{counted}"
        f'<div class="answers"><section class="before"><p class="label">{html(words["before"])}</p>'
        f"{answer_html(item.baseline, before)}</section>"
        f'<section class="after"><p class="label">{html(words["after"])}</p>'
        f"{answer_html(item.trained, after)}</section></div></article>",
        f"#br-example({typst(title)}, {typst(about)}, {answer_typst(item.client_message)}, "
        f"{answer_typst(item.baseline, before)}, "
        f"{answer_typst(item.trained, after)}, {strings(said)}, {strings(judged)})",
    )
