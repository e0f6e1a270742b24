"""report.json -> validation-report.html and validation-report.pdf, without a GPU or network.

rendered = render(data, folder)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from brightrun.verdicts import REPORT, ReportData
from reports import blocks, engines, paper, validation
from reports.escape import Markdown
from reports.paper import Paper, Stamp

HTML, PDF = f"{REPORT}.html", f"{REPORT}.pdf"
CONTRACT = "report.json"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was written, what set it, the data's hash and the seconds it took."""

    files: tuple[Path, ...]
    engine: str
    seconds: float
    fingerprint: str

    @property
    def html(self) -> Path:
        return self.of(".html")

    @property
    def pdf(self) -> Path:
        return self.of(".pdf")

    def of(self, suffix: str) -> Path:
        return next(file for file in self.files if file.suffix == suffix)


def canonical(data: BaseModel) -> bytes:
    """report.json as bytes: equal data, equal bytes."""
    document = data.model_dump(mode="json")
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return (text + "\n").encode("utf-8", errors="replace")


def fingerprint(data: BaseModel) -> str:
    """sha256 (hex) of report.json."""
    return hashlib.sha256(canonical(data)).hexdigest()


def render(
    data: ReportData,
    out: Path,
    *,
    engine: engines.Engine | None = None,
    attached: Mapping[str, bytes] | None = None,
) -> Rendered:
    """Write report.json, HTML and PDF into `out`; ReportError when an engine fails.

    attached: files by name that go with it, beside the pages and inside the PDF.
    """
    started = time.perf_counter()
    engine = engine or engines.find()
    mark = fingerprint(data)
    document = paper_of(data, engine.name, mark, attached or {})
    return write(document, data, out, REPORT, engine, started)


def write(
    document: Paper,
    data: BaseModel,
    out: Path,
    name: str,
    engine: engines.Engine,
    started: float,
) -> Rendered:
    """A document as {name}.html and {name}.pdf beside the report.json that it shows."""
    page = paper.html(engine, document)
    out.mkdir(parents=True, exist_ok=True)
    contract, html_file, pdf_file = out / CONTRACT, out / f"{name}.html", out / f"{name}.pdf"
    paper.pdf(engine, document, pdf_file)
    paper.write(contract, canonical(data))
    paper.write(html_file, page)
    beside = tuple(out / name for name in document.attached)
    for file in beside:
        paper.write(file, document.attached[file.name])
    seconds = time.perf_counter() - started
    made = (html_file, pdf_file, contract, *beside)
    return Rendered(made, engine.name, seconds, document.stamp.fingerprint)


def paper_of(data: ReportData, engine: str, mark: str, attached: Mapping[str, bytes]) -> Paper:
    """The validation report as a document."""
    drawn = validation.charts_of(data)
    values = validation.context(data, drawn)
    rows = [("Report", data.issue.report_id), ("Report sha256", mark), ("Report engine", engine),
            ("Every step, attached", ", ".join(attached))]  # fmt: skip
    engine_rows = blocks.pairs([row for row in rows if row[1]], code=True)
    values["provenance"] = Markdown(f"{values['provenance']}{engine_rows}")
    return Paper(
        template=REPORT,
        title=validation.title(data),
        stamp=Stamp(f"Job {data.job_id}", data.issue.report_id, mark),
        moment=data.finished_at,
        values=values,
        charts=drawn,
        brand=data.brand,
        warning=f"{data.meaningless}: the numbers mean nothing" if data.meaningless else "",
        attached=attached,
    )
