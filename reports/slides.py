"""Client slides from report.json: slides.html (reveal.js inside, no network) and slides.pptx.

rendered = make(data, folder)
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jinja2
from markupsafe import Markup

from brightrun.verdicts import ReportData
from reports import blocks, engines, escape, formats, paper, powerpoint, render, tables
from reports.canvas import Chart, font_folders
from reports.deck import Slide, deck
from reports.escape import markdown
from reports.paper import Stamp
from reports.render import Rendered
from reports.words import words

Picture = Callable[[Chart], str]
HERE = Path(__file__).resolve().parent
NAME = "slides"
START = "Reveal.initialize({ hash: true, width: 1160, height: 700, margin: 0.06, center: false });"


def make(data: ReportData, out: Path, engine: engines.Engine | None = None) -> Rendered:
    """Write report.json, slides.html and slides.pptx into `out`."""
    started = time.perf_counter()
    engine = engine or engines.find()
    mark = render.fingerprint(data)
    stamp = Stamp(f"Job {data.job_id}", data.issue.report_id, mark)
    slides = deck(data)
    shown = page(data, slides, stamp, engine)
    printed = powerpoint.paged(slides)
    out.mkdir(parents=True, exist_ok=True)
    files = (out / f"{NAME}.html", out / f"{NAME}.pptx", out / render.CONTRACT)
    powerpoint.write(engine, files[1], presentation(printed, engine), powerpoint.Frame(
        title=heading(data), lines=lines(data), stamp=stamp, brand=data.brand,
        slides=printed, moment=data.finished_at,
    ))  # fmt: skip
    paper.write(files[0], shown.encode("utf-8"))
    paper.write(files[2], render.canonical(data))
    return Rendered(files, engine.name, time.perf_counter() - started, mark)


def heading(data: ReportData) -> str:
    return formats.clip(data.name or data.training_file, 120)


def lines(data: ReportData) -> tuple[str, ...]:
    said = words(data.brand)
    found = [said["validation_report"], formats.date(data.finished_at)]
    if data.client:
        found.insert(1, f"{said['prepared_for']} {formats.clip(data.client, 80)}")
    if data.meaningless:
        found.append(f"{data.meaningless}: the numbers mean nothing.")
    return tuple(found)


def page(data: ReportData, slides: Sequence[Slide], stamp: Stamp, engine: engines.Engine) -> str:
    """slides.html: reveal.js, style and pictures inside; nothing is loaded."""
    body = engines.convert(engine, document(slides, _svg), "revealjs", engines.SLIDES)
    reveal = (HERE / "reveal" / "reveal.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
    template = environment.from_string((HERE / "slides.html").read_text(encoding="utf-8"))
    # Ours, reveal's, or escaped block by block before pandoc.
    return template.render(
        lang=data.brand.lang,
        title=escape.clean(f"{words(data.brand)['validation_report']}: {heading(data)}"),
        heading=escape.clean(heading(data)),
        lines=[escape.clean(line) for line in lines(data)],
        house=data.brand.house,
        logo=blocks.logo(data.brand),
        primary=data.brand.colours.primary,
        stamp=stamp,
        body=Markup(body),  # noqa: S704
        reveal_css=Markup((HERE / "reveal" / "reveal.css").read_text("utf-8")),  # noqa: S704
        css=Markup((HERE / "slides.css").read_text(encoding="utf-8")),  # noqa: S704
        reveal_js=Markup(reveal),  # noqa: S704
        start_js=Markup(START),  # noqa: S704
        reveal_hash=Markup(_sha(reveal)),  # noqa: S704
        start_hash=Markup(_sha(START)),  # noqa: S704
    )


def _sha(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def presentation(slides: Sequence[Slide], engine: engines.Engine) -> str:
    """The same slides for PowerPoint: charts as PNG; what is said below them is set later."""
    bare = (replace(s, points=()) if powerpoint.shows(s) else s for s in slides)
    return document(tuple(bare), _png(engine), captions=False)


def document(slides: Sequence[Slide], picture: Picture, captions: bool = True) -> str:
    """Markdown with a slide for every level-1 heading; every text is escaped."""
    return "\n\n".join(_markdown(slide, picture, captions) for slide in slides)


def _markdown(slide: Slide, picture: Picture, captions: bool) -> str:
    parts = [f"# {markdown(slide.title)}"]
    if slide.points:
        parts.append("\n".join(f"- {markdown(formats.prose(p))}" for p in slide.points))
    if slide.table and slide.table.rows:
        parts.append(_table(slide))
    if slide.chart:
        alt = markdown(slide.chart.alt) if captions else ""
        parts.append(f"![{alt}]({picture(slide.chart)})")
    if slide.command:
        parts.append(f"- {markdown('Next: ' + slide.command)}")
    return "\n\n".join(parts)


def _table(slide: Slide) -> str:
    assert slide.table is not None
    shown = tables.printed(slide.table)

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(markdown(escape.breakable(cell)) or " " for cell in cells) + " |"

    rule = "|" + "|".join("---" for _ in shown.columns) + "|"
    return "\n".join([row(shown.columns), rule, *(row(cells) for cells in shown.rows)])


def _svg(chart: Chart) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(chart.svg.encode()).decode()}"


def _png(engine: engines.Engine) -> Picture:
    def picture(chart: Chart) -> str:
        content = engines.raster(engine, chart.svg, font_folders())
        return f"data:image/png;base64,{base64.b64encode(content).decode()}"

    return picture
