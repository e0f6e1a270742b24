"""The sales one-pager: claims whose verdict is "pass", each with its sample and interval below.

rendered = make(data, folder)        # ReportError says what is missing when nothing may be claimed
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from brightrun.counting import count
from brightrun.errors import ReportError
from brightrun.verdicts import MetricName, ReportData, Verdict
from reports import assurances, blocks, claims, engines, formats, judgements, render
from reports.blocks import twin
from reports.escape import Markdown, html, typst
from reports.metricwords import words_of
from reports.paper import Paper, Stamp
from reports.render import Rendered
from reports.validation import ONE_PAGE_BEGINS
from reports.words import words

NAME = "one-pager"
ONE_PAGE_ENDS = blocks.twin("</div>", "]")
MARKS = "¹²³⁴⁵⁶"


def claimable(data: ReportData) -> list[Verdict]:
    """The verdicts that passed; ReportError when none did or a gate forbids any claim."""
    verdicts = claims.targets(data.evaluation.verdicts)
    missing = [
        f"{words_of(v).label}: {claims.status(v).lower()}"
        for v in verdicts
        if v.target_met != "pass"
    ]
    sellable(data)
    safety = next((v for v in verdicts if v.metric is MetricName.safety), None)
    if safety is not None and safety.target_met == "fail":
        raise ReportError(
            f"job {data.job_id} has not passed the safety gate: no page for sales is made",
            fix="read the safety section of its validation report",
        )
    # What was not planned before the training may be reported, never sold.
    passed = claims.met(verdicts)
    missing += [f"{words_of(v).label}: not in the plan" for v in verdicts if v.exploratory]
    if not passed:
        raise ReportError(
            f"job {data.job_id} has no claim that may be sold; missing: {'; '.join(missing)}",
            cause="only a claim whose verdict is `pass` stands on a one-pager",
            fix=data.next_command or "measure more: the validation report names the sample needed",
        )
    return passed


def sellable(data: ReportData) -> None:
    """ReportError: nothing that sells may be made of a test."""
    if data.meaningless:
        raise ReportError(
            f"job {data.job_id} is a {data.meaningless.lower()}: nothing may be claimed from it",
            fix="train a real base model, and not as a smoke test",
        )


def make(data: ReportData, out: Path, engine: engines.Engine | None = None) -> Rendered:
    """Write report.json, one-pager.html and one-pager.pdf into `out`."""
    started = time.perf_counter()
    passed = claimable(data)
    engine = engine or engines.find()
    mark = render.fingerprint(data)
    return render.write(paper_of(data, passed, mark), data, out, NAME, engine, started)


def paper_of(data: ReportData, passed: Sequence[Verdict], mark: str) -> Paper:
    said = words(data.brand)
    brand = data.brand
    return Paper(
        template=NAME,
        title=f"{said['one_pager']}: {data.name or data.job_id}",
        stamp=Stamp(f"Job {data.job_id}", data.issue.report_id, mark),
        moment=data.finished_at,
        values={
            "one_page_begins": ONE_PAGE_BEGINS,
            "one_page_ends": ONE_PAGE_ENDS,
            "cover": blocks.cover(
                brand.house,
                formats.clip(data.name or data.training_file, 100),
                [
                    line
                    for line in (
                        (said["prepared_for"], formats.clip(data.client, 80)),
                        (said["date"], formats.date(data.finished_at)),
                    )
                    if line[1]
                ],
                logo=blocks.logo(brand),
            ),
            "flags": judgements.flags(data.evaluation, said["first"]),
            "claims": claim_cards(passed),
            "notes": notes(passed),
            "terms": blocks.pairs(assurances.terms(brand, said)),
            "proof": proof(data),
        },
        brand=brand,
        contents=False,
    )


def claim_cards(passed: Sequence[Verdict]) -> Markdown:
    """Big: the estimate and what it is of; the number of its note beside it."""
    cards = [
        (claims.estimate(v) + MARKS[i], words_of(v).label, words_of(v).plain)
        for i, v in enumerate(passed)
    ]
    body = "".join(
        f'<div class="shown"><p class="number">{html(number)}</p><div><p class="name">{html(name)}'
        f"</p><p>{html(plain)}</p></div></div>"
        for number, name, plain in cards
    )
    return twin(body, f"#br-shown({blocks.array(blocks.strings(card) for card in cards)})")


def notes(passed: Sequence[Verdict]) -> Markdown:
    """n and interval of every claim, from its verdict."""
    lines = [f"{MARKS[i]} {claims.sentence(v)}" for i, v in enumerate(passed)]
    body = "".join(f"<p>{html(line)}</p>" for line in lines)
    code = blocks.array(typst(line) for line in lines)
    return twin(f'<div class="footnotes">{body}</div>', f"#br-notes({code})")


def proof(data: ReportData) -> str:
    untold = len(claims.targets(data.evaluation.verdicts))
    passed = len(claims.met(data.evaluation.verdicts))
    return (
        f"{passed} of {count(untold, 'target')} met. Everything that was measured, also what was "
        f"not shown, stands in the validation report of job {data.job_id}."
    )
