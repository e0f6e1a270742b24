"""A filled .qmd set as one HTML page and as a tagged PDF, with its stamp on every page.

    paper = Paper(template="validation-report", ...)
    html(engine, paper) -> bytes;  pdf(engine, paper, target)

HTML is one file without scripts or links. The PDF is PDF/UA-1: tagged, titled, every picture with
words.
"""

from __future__ import annotations

import base64
import re
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from brightrun.brand import Brand
from brightrun.errors import ReportError
from reports import canvas, engines, escape, pictures
from reports.blocks import logo_file
from reports.canvas import Chart
from reports.escape import Markdown, finalize, typst
from reports.words import words

HERE = Path(__file__).resolve().parent
MARK = "brightrun-report"
LARGEST_INSIDE = 2_000_000  # bytes of a file inside the PDF: it is sent by mail


@dataclass(frozen=True, slots=True)
class Stamp:
    """What says on every page which report this is. about: `Job 261123-8207ac`."""

    about: str
    report_id: str
    fingerprint: str

    @property
    def line(self) -> str:
        parts = [self.about, f"report {self.report_id}".rstrip(), self.fingerprint[:16]]
        return " · ".join(part for part in parts if part)

    @property
    def mark(self) -> str:
        """For machines: `brightrun verify` finds it in a file that was changed."""
        return f"{MARK}:{self.report_id}:{self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Paper:
    """A document: the .qmd's name, its placeholders' values, its charts, its stamp and brand.

    A plain str among the values is escaped by the template. `warning` stands on every page.
    attached: files by name that the PDF carries and that lie beside both.
    """

    template: str
    title: str
    stamp: Stamp
    moment: datetime
    values: Mapping[str, Markdown | str]
    charts: Mapping[str, Chart | None] = field(default_factory=dict)
    brand: Brand = field(default_factory=Brand)
    warning: str = ""
    contents: bool = True
    attached: Mapping[str, bytes] = field(default_factory=dict)


def fill(paper: Paper) -> str:
    """The .qmd with its placeholders filled: plain text escaped, blocks as they are."""
    environment = jinja2.Environment(
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  what is not Markdown is escaped by `finalize`
        # `{#id}` is an anchor in Markdown, not a comment.
        comment_start_string="<!--#",
        comment_end_string="#-->",
    )
    template = environment.from_string((HERE / f"{paper.template}.qmd").read_text(encoding="utf-8"))
    return template.render({**paper.values, "h": words(paper.brand)})


def html(engine: engines.Engine, paper: Paper) -> bytes:
    """One self-contained page with style and contents inside."""
    body = engines.convert(engine, fill(paper), "html5")
    contents = re.findall(r'<h1\s+id="([a-z-]+)"[^>]*>([^<]+)</h1>', body)
    if not contents:
        raise ReportError(f"{engine.name} gave HTML without headings", fix="render again")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    template = environment.from_string((HERE / "page.html").read_text(encoding="utf-8"))
    page = template.render(
        title=escape.clean(paper.title),
        lang=paper.brand.lang,
        # The style is ours, the body was escaped block by block.
        css=Markup((HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704
        primary=paper.brand.colours.primary,
        contents=[(anchor, Markup(name)) for anchor, name in contents],  # noqa: S704
        contents_label=words(paper.brand)["contents"],
        shows_contents=paper.contents,
        body=Markup(body),  # noqa: S704
        stamp=paper.stamp,
        house=paper.brand.house,
        engine=engine.name,
    )
    return page.encode("utf-8")


def pdf(engine: engines.Engine, paper: Paper, target: Path) -> None:
    """Write the PDF, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".render-", dir=target.parent) as folder:
        work = Path(folder)
        # In raw blocks pictures are named already; what is left of them stands in prose.
        printed = engines.convert(engine, pictures.named(fill(paper)), "typst")
        _typst_source(paper, printed, work)
        made = work / "out.pdf"
        engines.typeset(engine, work / "main.typ", made, canvas.font_folders())
        made.replace(target)


def _typst_source(paper: Paper, body: str, folder: Path) -> None:
    """main.typ, the template, brand and charts, in one folder that typst cannot leave."""
    for chart in paper.charts.values():
        if chart is not None:
            (folder / f"{chart.name}.svg").write_text(chart.svg, encoding="utf-8")
    if paper.brand.logo:
        data = paper.brand.logo.partition(";base64,")[2]
        (folder / logo_file(paper.brand.logo)).write_bytes(base64.b64decode(data))
    (folder / "report.typ").write_bytes((HERE / "report.typ").read_bytes())
    said, brand = words(paper.brand), paper.brand
    (folder / "brand.typ").write_text(
        f"#let primary = rgb({typst(brand.colours.primary)})\n"
        f"#let words = (page: {typst(said['page'])}, of: {typst(said['of'])}, "
        f"client: {typst(said['client'])}, before: {typst(said['before'])}, "
        f"after: {typst(said['after'])})\n",
        encoding="utf-8",
    )
    moment = paper.moment.astimezone(UTC)
    date = f"datetime(year: {moment.year}, month: {moment.month}, day: {moment.day})"
    lang, _, region = brand.lang.partition("-")
    head = (
        '#import "report.typ": *\n'
        f"#show: report.with(title: {typst(paper.title)}, author: {typst(brand.house)}, "
        f"stamp: {typst(paper.stamp.line)}, mark: {typst(paper.stamp.mark)}, date: {date}, "
        f"lang: {typst(lang)}, region: {typst(region) if region else 'none'}, "
        f"warning: {typst(paper.warning)})\n\n"
    )
    (folder / "main.typ").write_text(head + carried(paper, folder) + body, encoding="utf-8")


def carried(paper: Paper, folder: Path) -> str:
    """typst's words for the files inside the PDF; a large one stays outside."""
    said = []
    for name, content in paper.attached.items():
        if len(content) <= LARGEST_INSIDE:
            (folder / name).write_bytes(content)
            told = typst(f"Data of this report: {name}")  # PDF/UA refuses a file without words
            said.append(f'#pdf.attach({typst(name)}, relationship: "data", description: {told})\n')
    return "".join(said)


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_bytes(content)
    temporary.replace(path)
