"""Building blocks of a report: each is one raw HTML block and one raw typst block, side by side.

pandoc (and Quarto) keep the one that fits the format. Every text that comes from data stands
in them as escaped HTML or as a typst string literal (see reports.escape).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from brightrun.brand import Brand
from brightrun.verdicts import Standing, Table, Verdict
from reports import claims, formats
from reports.canvas import Chart
from reports.escape import Markdown, breakable, html, markdown, typst
from reports.metricwords import words_of
from reports.tables import GENERAL, Layout, Printed, printed

Kind = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One tile of the summary: a label, a short value, a remark."""

    label: str
    value: str
    remark: str = ""


def twin(as_html: str, as_typst: str) -> Markdown:
    """The same block for both formats."""
    # Empty lines inside: a typst block must not become part of the paragraph before it.
    return Markdown(
        f"\n\n````{{=html}}\n{as_html}\n````\n\n````{{=typst}}\n\n{as_typst}\n\n````\n\n"
    )


def array(items: Iterable[str]) -> str:
    """A typst array of code fragments; the comma after the last makes one item an array too."""
    inner = "".join(f"{item}, " for item in items)
    return f"({inner})"


def strings(items: Iterable[str]) -> str:
    return array(typst(item) for item in items)


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture as a data URI, and what it shows."""

    uri: str
    alt: str


def logo(brand: Brand) -> Logo | None:
    return Logo(brand.logo, brand.alt) if brand.logo else None


def cover(
    kicker: str, title: str, lines: Sequence[tuple[str, str]], logo: Logo | None = None
) -> Markdown:
    """Title block: what it is, whose, and the few facts that identify it."""
    items = "".join(f"<div><dt>{html(k)}</dt><dd>{html(v)}</dd></div>" for k, v in lines)
    image = f'<img class="logo" alt="{html(logo.alt)}" src="{html(logo.uri)}">' if logo else ""
    pair = array(map(typst, (logo_file(logo.uri), logo.alt))) if logo else "none"
    return twin(
        f'<header class="cover">{image}<p class="kicker">{html(kicker)}</p><h1 dir="auto">'
        f"{html(title)}</h1><dl>{items}</dl></header>",
        f"#br-cover({typst(kicker)}, {typst(title)}, {array(strings(line) for line in lines)}, "
        f"{pair})",
    )


def logo_file(uri: str) -> str:
    """`data:image/svg+xml;base64,...` -> `logo.svg`: its name beside the typst file."""
    kind = uri.partition(";")[0].rpartition("/")[2]
    return f"logo.{kind.partition('+')[0]}"


def banner(kind: Kind, title: str, text: str = "", command: str = "") -> Markdown:
    """A framed statement; `command` is set as code below it."""
    code = f"<pre><code>{html(command)}</code></pre>" if command else ""
    body = f"<p>{html(text)}</p>" if text else ""
    return twin(
        f'<aside class="banner {kind}"><p class="title">{html(title)}</p>{body}{code}</aside>',
        f"#br-banner({typst(kind)}, {typst(title)}, {typst(text)}, {typst(command)})",
    )


def facts(tiles: Sequence[Fact]) -> Markdown:
    """A row of tiles."""
    cells = "".join(
        f'<div class="fact"><p class="label">{html(t.label)}</p><p class="value">{html(t.value)}'
        f'</p><p class="remark">{html(t.remark)}</p></div>'
        for t in tiles
    )
    rows = array(strings((t.label, t.value, t.remark)) for t in tiles)
    return twin(f'<div class="facts">{cells}</div>', f"#br-facts({rows})")


def _pill_kind(verdict: Verdict) -> Standing | Literal["no_target"]:
    return "no_target" if verdict.target is None else verdict.standing


def pill(verdict: Verdict) -> str:
    return f'<span class="pill {_pill_kind(verdict)}">{html(claims.status(verdict))}</span>'


def claim_list(verdicts: Sequence[Verdict]) -> Markdown:
    """One row per verdict: pill, name, sentence."""
    rows_html, rows_typst = [], []
    for verdict in verdicts:
        words = words_of(verdict)
        said = claims.sentence(verdict)
        rows_html.append(
            f'<div class="claim">{pill(verdict)}<div><p class="name">{html(words.label)}'
            f'<span class="plain">{html(words.plain)}</span></p><p>{html(said)}</p></div></div>'
        )
        rows_typst.append(
            strings((_pill_kind(verdict), claims.status(verdict), words.label, words.plain, said))
        )
    return twin(
        f'<div class="claims">{"".join(rows_html)}</div>', f"#br-claims({array(rows_typst)})"
    )


def finding(verdict: Verdict) -> Markdown:
    """A section's result: pill, sentence, and the verdict's note below."""
    said, kind = claims.sentence(verdict), _pill_kind(verdict)
    # Where nothing was taken the note is the sentence.
    note = formats.prose(verdict.note) if claims.taken(verdict) else ""
    below = f'<p class="note">{html(note)}</p>' if note else ""
    return twin(
        f'<div class="claim finding">{pill(verdict)}<div><p class="name">{html(said)}</p>{below}'
        "</div></div>",
        f"#br-finding({strings((kind, claims.status(verdict), said, note))[1:-1]})",
    )


def verdict_table(verdicts: Sequence[Verdict]) -> Markdown:
    """All verdicts with their levels, interval, target and evidence."""
    head = ("Metric", "Verdict", "Baseline", "Trained", "Gold", "Estimate", "95% interval",
            "Target", "Sample")  # fmt: skip
    body_html, body_typst = [], []
    for v in verdicts:
        words = words_of(v)
        known = claims.measured(v)
        cells = (
            *claims.levels(v),
            claims.estimate(v) if known else formats.NONE,
            claims.estimate_interval(v) if known else formats.NONE,
            claims.target(v),
            claims.sample(v) if v.n else formats.NONE,
        )
        evidence = claims.evidence(v)
        tds = "".join(f"<td>{html(c)}</td>" for c in cells)
        body_html.append(
            f'<tr><th scope="row">{html(words.label)}<small>{html(evidence)}</small></th>'
            f"<td>{pill(v)}</td>{tds}</tr>"
        )
        body_typst.append(strings((words.label, evidence, _pill_kind(v), claims.status(v), *cells)))
    heads = "".join(f'<th scope="col">{html(h)}</th>' for h in head)
    return twin(
        f'<div class="scroll"><table class="verdicts"><thead><tr>{heads}</tr></thead><tbody>'
        f"{''.join(body_html)}</tbody></table></div>",
        f"#br-verdicts({strings(head)}, {array(body_typst)})",
    )


def table(data: Table, layout: Layout = GENERAL, empty: str = "Nothing to list.") -> Markdown:
    """A data table as reports.tables prints it; columns of numbers stand right."""
    if not data.rows:
        return Markdown(f"\n\n{markdown(empty)}\n\n")
    shown = printed(data, layout)
    sides = ["right" if i in shown.right else "left" for i in range(len(shown.columns))]
    heads = "".join(
        f'<th scope="col" class="{side}">{html(name)}</th>'
        for name, side in zip(shown.columns, sides, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{side}" dir="auto">{html(breakable(cell))}</td>'
            for cell, side in zip(row, sides, strict=True)
        )
        + "</tr>"
        for row in shown.rows
    )
    caption = f"<caption>{html(shown.caption)}</caption>" if shown.caption else ""
    widths = [_width(i, shown) for i in range(len(shown.columns))]
    if not any(width.endswith("fr") for width in widths):
        words = [i for i in range(len(widths)) if i not in shown.right] or [0]
        longest = max(words, key=lambda i: max(len(row[i]) for row in shown.rows))
        widths[longest] = "1fr"
    return twin(
        f'<div class="scroll"><table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}'
        "</tbody></table></div>",
        f"#br-table({strings(shown.columns)}, {array(widths)}, {strings(sides)}, "
        f"{array(strings(row) for row in shown.rows)}, {typst(shown.caption)})",
    )


def _width(index: int, shown: Printed) -> str:
    """A column's share of the paper: numbers and short words as they are, texts by their length."""
    longest = max(len(row[index]) for row in shown.rows)
    if index in shown.right or longest <= 16:
        return "auto"
    return f"{math.sqrt(min(longest, 400)):.2f}fr"


def pairs(items: Iterable[tuple[str, str]], code: bool = False) -> Markdown:
    """Names and values in two columns; `code` sets the values in a fixed-width face."""
    listed = list(items)
    kind = "pairs code" if code else "pairs"
    body = "".join(f"<div><dt>{html(k)}</dt><dd>{html(v)}</dd></div>" for k, v in listed)
    rows = array(strings(item) for item in listed)
    flag = "true" if code else "false"
    return twin(f'<dl class="{kind}">{body}</dl>', f"#br-pairs({rows}, code: {flag})")


def code(text: str) -> Markdown:
    """A command, as typed."""
    return twin(f"<pre><code>{html(text)}</code></pre>", f"#br-code({typst(text)})")


def figure(chart: Chart | None, empty: str = "Nothing to draw.") -> Markdown:
    """A chart with alternative text and caption; its SVG lies beside the typst file."""
    if chart is None:
        return Markdown(f"\n\n{markdown(empty)}\n\n")
    image = base64.b64encode(chart.svg.encode()).decode()
    return twin(
        f'<figure><img alt="{html(chart.alt)}" src="data:image/svg+xml;base64,{image}">'
        f"<figcaption>{html(chart.caption)}</figcaption></figure>",
        f"#br-figure({typst(chart.name + '.svg')}, {typst(chart.alt)}, {typst(chart.caption)})",
    )


def bullets(items: Iterable[str]) -> Markdown:
    """A list of plain sentences."""
    return Markdown("\n\n" + "".join(f"- {markdown(item)}\n" for item in items if item) + "\n")
