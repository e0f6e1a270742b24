"""slides.pptx: pandoc's presentation in the brand's colour, with the stamp on every slide, words
for every picture and sentences below what they are about. What pandoc leaves out goes into its XML.
"""

from __future__ import annotations

import io
import math
import re
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape as xml_escape
from xml.sax.saxutils import quoteattr

from brightrun.brand import Brand
from reports import engines, paper
from reports.archive import MOMENT
from reports.deck import Slide
from reports.escape import clean
from reports.paper import Stamp

Change = Callable[[str, str], str]
SLIDE = re.compile(r"ppt/slides/slide(\d+)\.xml")
DESCRIBED = re.compile(r'descr="data:[^"]*"')
# English Metric Units: 914,400 an inch; the slide is 10 x 5.625 inches.
BOX = (
    '<p:sp><p:nvSpPr><p:cNvPr id="{id}" name="{name}"/><p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr>'
    '<p:spPr><a:xfrm><a:off x="{x}" y="{y}"/><a:ext cx="{width}" cy="{height}"/></a:xfrm>'
    '<a:prstGeom prst="rect"><a:avLst/></a:prstGeom><a:noFill/></p:spPr>'
    '<p:txBody><a:bodyPr wrap="square" anchor="b"/><a:lstStyle/>{paragraphs}</p:txBody></p:sp>'
)
PARAGRAPH = (
    '<a:p><a:r><a:rPr lang="{lang}" sz="{size}"><a:solidFill><a:srgbClr val="{colour}"/>'
    "</a:solidFill></a:rPr><a:t>{text}</a:t></a:r></a:p>"
)
PLACED = re.compile(
    r'(<p:pic>.*?<a:off x=")(\d+)(" y=")(\d+)("\s*/>\s*<a:ext cx=")(\d+)(" cy=")(\d+)(")', re.S
)
WIDTH = 9_144_000  # of a slide
HIGHEST, LOWEST = 1_050_000, 4_860_000  # below its title, above the stamp
LINE = 220_000  # of a sentence below a picture, in points of 13
TITLES, TEXTS = "2800", "2000"  # hundredths of a point; pandoc's 33 and 24 leave five lines a slide
ACROSS, DOWN = 62, 11  # characters a line, lines a slide in points of 20: counted on the sample
BELOW = 105  # characters a line below a picture: counted on the sample


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the slides, and the slides: one for every one in the document."""

    title: str
    lines: tuple[str, ...]
    stamp: Stamp
    brand: Brand
    slides: tuple[Slide, ...]
    moment: datetime


def shows(slide: Slide) -> bool:
    """Whether a picture or a table fills it: its sentences stand below."""
    return bool(slide.chart or (slide.table and slide.table.rows))


def paged(slides: Sequence[Slide]) -> tuple[Slide, ...]:
    """The same slides, none with more text than it has room for: the rest follows on another."""
    found: list[Slide] = []
    for slide in slides:
        if shows(slide):
            found.append(slide)
            continue
        groups = grouped(slide.points)
        pages = [replace(slide, points=points, command="") for points in groups]
        pages[-1] = replace(pages[-1], command=slide.command)
        found += pages
    return tuple(found)


def grouped(points: Sequence[str]) -> list[tuple[str, ...]]:
    """Points by slide; one that is longer than a slide is cut between words."""
    whole = ACROSS * (DOWN - 1)
    pieces = [part for point in points for part in textwrap.wrap(point, whole) or [point]]
    groups: list[tuple[str, ...]] = [()]
    for piece in pieces:
        if groups[-1] and _lines((*groups[-1], piece)) > DOWN:
            groups.append(())
        groups[-1] = (*groups[-1], piece)
    return groups


def _lines(points: Sequence[str]) -> float:
    return sum(math.ceil(len(point) / ACROSS) + 0.25 for point in points)


def write(engine: engines.Engine, target: Path, document: str, frame: Frame) -> None:
    """Write the presentation, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=".slides-", dir=target.parent) as folder:
        reference, made = Path(folder) / "reference.pptx", Path(folder) / "made.pptx"
        reference.write_bytes(branded(engines.reference_deck(engine), frame.brand))
        engines.powerpoint(
            engine, document, made, reference, clean(frame.title), [clean(x) for x in frame.lines]
        )
        content = finished(made.read_bytes(), frame)
    paper.write(target, content)


def branded(reference: bytes, brand: Brand) -> bytes:
    """pandoc's reference presentation in the brand's colour, with sizes that leave room."""
    colour = f'<a:srgbClr val="{brand.colours.primary[1:]}"/>'

    def change(name: str, text: str) -> str:
        if name == "ppt/theme/theme1.xml":
            return re.sub(
                r"(<a:accent1>).*?(</a:accent1>)", rf"\g<1>{colour}\g<2>", text, flags=re.S
            )
        if name == "ppt/slideMasters/slideMaster1.xml":
            text = text.replace('sz="3300"', f'sz="{TITLES}"').replace('sz="2400"', f'sz="{TEXTS}"')
            return re.sub(
                r"<p:titleStyle>.*?</p:titleStyle>",
                lambda style: re.sub(r'<a:schemeClr val="tx1"\s*/>', colour, style.group()),
                text,
                flags=re.S,
            )
        return text

    return rewritten(reference, change)


def finished(made: bytes, frame: Frame) -> bytes:
    """Stamp on every slide, words for every picture, the mark in the properties."""
    stamp = box("Stamp", 9001, (182_880, 4_892_040, 8_778_240, 228_600), frame,
                [frame.stamp.line], "800", "4A5866")  # fmt: skip

    def change(name: str, text: str) -> str:
        if number := SLIDE.fullmatch(name):
            at = int(number[1]) - 2  # the first one is the title's
            if 0 <= at < len(frame.slides):
                text = filled(text, frame.slides[at], frame)
            return text.replace("</p:spTree>", f"{stamp}</p:spTree>")
        if name == "docProps/core.xml":
            when = f"{frame.moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            text = re.sub(r"(<dcterms:\w+[^>]*>)[^<]*(</dcterms:)", rf"\g<1>{when}\g<2>", text)
            text = re.sub(r"<dc:(title|description)(\s*/>|>.*?</dc:\1>)", "", text, flags=re.S)
            mark = (
                f"<dc:title>{xml_escape(clean(frame.title))}</dc:title>"
                f"<dc:description>{frame.stamp.mark}</dc:description>"
            )
            return text.replace("</cp:coreProperties>", f"{mark}</cp:coreProperties>")
        return text

    return rewritten(made, change)


def filled(text: str, slide: Slide, frame: Frame) -> str:
    """A slide's XML with words for its picture and its sentences below."""
    if slide.chart:
        said = f"descr={quoteattr(clean(slide.chart.alt))}"
        text = DESCRIBED.sub(lambda _: said, text)
    if not shows(slide):
        return text
    rows = sum(math.ceil(len(point) / BELOW) for point in slide.points)
    floor = max(LOWEST - (rows * LINE + 90_000 if rows else 0), 2 * HIGHEST)
    text = PLACED.sub(lambda found: placed(found, floor), text)
    if not rows:
        return text
    area = (457_200, floor, WIDTH - 914_400, LOWEST - floor)
    said = box("Sentences", 9000, area, frame, slide.points, "1300", "1B2733")
    return text.replace("</p:spTree>", f"{said}</p:spTree>")


def placed(found: re.Match[str], floor: int) -> str:
    """A picture as large as fits between title and sentences, in the middle."""
    wide, high = int(found[6]), int(found[8])
    scale = min((WIDTH - 914_400) / wide, (floor - HIGHEST) / high)
    width, height = int(wide * scale), int(high * scale)
    x, y = (WIDTH - width) // 2, HIGHEST + (floor - HIGHEST - height) // 2
    return f"{found[1]}{x}{found[3]}{y}{found[5]}{width}{found[7]}{height}{found[9]}"


def box(
    name: str,
    number: int,
    area: tuple[int, int, int, int],
    frame: Frame,
    points: Sequence[str],
    size: str,
    colour: str,
) -> str:
    """A text box; area: x, y, width, height in EMU; size: hundredths of a point."""
    x, y, width, height = area
    paragraphs = "".join(
        PARAGRAPH.format(
            lang=frame.brand.lang, size=size, colour=colour, text=xml_escape(clean(point))
        )
        for point in points
    )
    return BOX.format(id=number, name=name, x=x, y=y, width=width, height=height,
                      paragraphs=paragraphs)  # fmt: skip


def rewritten(content: bytes, change: Change) -> bytes:
    """The zip with its XML changed; slides in their order, equal content as equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        names = sorted(source.namelist(), key=_order)
        for name in names:
            data = source.read(name)
            if name.endswith(".xml"):
                data = change(name, data.decode("utf-8")).encode("utf-8")
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, data)
    return buffer.getvalue()


def _order(name: str) -> tuple[int, int, str]:
    """The table of contents first, slides by number."""
    slide = SLIDE.fullmatch(name)
    return (0 if name == "[Content_Types].xml" else 1, int(slide[1]) if slide else 0, name)
