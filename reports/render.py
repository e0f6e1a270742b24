"""report.json -> validation-report.html and validation-report.pdf, without a GPU or network.

    rendered = render(data, folder)

HTML is one file without scripts or links; the PDF is tagged and carries job and report hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import jinja2
from markupsafe import Markup

from brightrun.errors import ReportError
from brightrun.verdicts import ReportData
from reports import blocks, canvas, engines, pictures, validation
from reports.canvas import Chart
from reports.escape import Markdown, finalize, typst

HERE = Path(__file__).resolve().parent
NAME = "validation-report"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The two files, what set them, the data's hash and the seconds it took."""

    html: Path
    pdf: Path
    engine: str
    seconds: float
    fingerprint: str


def canonical(data: ReportData) -> bytes:
    """report.json as bytes: equal data, equal bytes."""
    document = data.model_dump(mode="json")
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return (text + "\n").encode("utf-8", errors="replace")


def fingerprint(data: ReportData) -> str:
    """sha256 (hex) of report.json."""
    return hashlib.sha256(canonical(data)).hexdigest()


def render(data: ReportData, out: Path, *, engine: engines.Engine | None = None) -> Rendered:
    """Write report.json, HTML and PDF into `out`; ReportError when an engine fails."""
    started = time.perf_counter()
    engine = engine or engines.find()
    mark = fingerprint(data)
    drawn = validation.charts_of(data)
    document = fill(data, drawn, engine.name, mark)
    page = _page(data, engines.convert(engine, document, "html5"), engine.name, mark)
    html_file, pdf_file = out / f"{NAME}.html", out / f"{NAME}.pdf"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".render-", dir=out) as folder:
        work = Path(folder)
        # In raw blocks pictures are named already; what is left of them stands in prose.
        printed = pictures.named(document)
        _typst_source(data, engines.convert(engine, printed, "typst"), drawn, mark, work)
        engines.typeset(engine, work / "main.typ", work / "out.pdf", canvas.font_folders())
        _write(out / "report.json", canonical(data))
        _write(html_file, page.encode("utf-8"))
        (work / "out.pdf").replace(pdf_file)
    seconds = time.perf_counter() - started
    return Rendered(html_file, pdf_file, engine.name, seconds, mark)


def fill(data: ReportData, drawn: dict[str, Chart | None], engine: str, mark: str) -> str:
    """The .qmd with its placeholders filled: plain text escaped, blocks as they are."""
    environment = jinja2.Environment(
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  what is not Markdown is escaped by `finalize`
        # `{#id}` is an anchor in Markdown, not a comment.
        comment_start_string="<!--#",
        comment_end_string="#-->",
    )
    template = environment.from_string((HERE / f"{NAME}.qmd").read_text(encoding="utf-8"))
    values = validation.context(data, drawn)
    engine_rows = blocks.pairs([("Report sha256", mark), ("Report engine", engine)], code=True)
    values["provenance"] = Markdown(f"{values['provenance']}{engine_rows}")
    return template.render(**values)


def _page(data: ReportData, body: str, engine: str, mark: str) -> str:
    """The body in its page, with style and contents inside."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    template = environment.from_string((HERE / "page.html").read_text(encoding="utf-8"))
    contents = re.findall(r'<h1\s+id="([a-z-]+)"[^>]*>([^<]+)</h1>', body)
    if not contents:
        raise ReportError(f"{engine} gave HTML without headings", fix="render again")
    return template.render(
        title=validation.title(data),
        # The style is ours, the body was escaped block by block.
        css=Markup((HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704
        contents=contents,
        body=Markup(body),  # noqa: S704
        job=data.job_id,
        fingerprint=mark[:16],
        engine=engine,
    )


def _typst_source(
    data: ReportData, body: str, drawn: dict[str, Chart | None], mark: str, folder: Path
) -> None:
    """main.typ, the template and the charts, in one folder that typst cannot leave."""
    for chart in drawn.values():
        if chart is not None:
            (folder / f"{chart.name}.svg").write_text(chart.svg, encoding="utf-8")
    (folder / "report.typ").write_bytes((HERE / "report.typ").read_bytes())
    moment = data.finished_at.astimezone(UTC)
    date = f"datetime(year: {moment.year}, month: {moment.month}, day: {moment.day})"
    warning = "" if data.meaningful else "Test model: the numbers mean nothing"
    head = (
        '#import "report.typ": *\n'
        f"#show: report.with(title: {typst(validation.title(data))}, "
        f"author: {typst('Bright Run')}, job: {typst(data.job_id)}, "
        f"fingerprint: {typst(mark[:16])}, date: {date}, "
        f"warning: {typst(warning)})\n\n"
    )
    (folder / "main.typ").write_text(head + body, encoding="utf-8")


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
