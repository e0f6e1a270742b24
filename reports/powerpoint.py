"""slides.pptx: pandoc's presentation in the brand's colour, with the stamp on every slide and words
for every picture. What pandoc leaves out is put into its XML afterwards.
"""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape as xml_escape
from xml.sax.saxutils import quoteattr

from brightrun.brand import Brand
from reports import engines, paper
from reports.archive import MOMENT
from reports.escape import clean
from reports.paper import Stamp

Change = Callable[[str, str], str]
SLIDE = re.compile(r"ppt/slides/slide(\d+)\.xml")
DESCRIBED = re.compile(r'descr="data:[^"]*"')
# English Metric Units: 914,400 an inch; the slide is 10 x 5.625 inches.
FOOTER = (
    '<p:sp><p:nvSpPr><p:cNvPr id="{id}" name="Stamp"/><p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr>'
    '<p:spPr><a:xfrm><a:off x="182880" y="4892040"/><a:ext cx="8778240" cy="228600"/></a:xfrm>'
    '<a:prstGeom prst="rect"><a:avLst/></a:prstGeom><a:noFill/></p:spPr><p:txBody><a:bodyPr/>'
    '<a:lstStyle/><a:p><a:r><a:rPr lang="{lang}" sz="800"><a:solidFill><a:srgbClr val="4A5866"/>'
    "</a:solidFill></a:rPr><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the slides. alts: one for every picture, in order."""

    title: str
    lines: tuple[str, ...]
    stamp: Stamp
    brand: Brand
    alts: tuple[str, ...]
    moment: datetime


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
    """pandoc's reference presentation with titles and first accent in the brand's colour."""
    colour = f'<a:srgbClr val="{brand.colours.primary[1:]}"/>'

    def change(name: str, text: str) -> str:
        if name == "ppt/theme/theme1.xml":
            return re.sub(
                r"(<a:accent1>).*?(</a:accent1>)", rf"\g<1>{colour}\g<2>", text, flags=re.S
            )
        if name == "ppt/slideMasters/slideMaster1.xml":
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
    alts: Iterator[str] = iter(frame.alts)
    footer = xml_escape(clean(frame.stamp.line))

    def change(name: str, text: str) -> str:
        if SLIDE.fullmatch(name):
            text = DESCRIBED.sub(lambda _: f"descr={quoteattr(clean(next(alts, '')))}", text)
            box = FOOTER.format(id=9001, lang=frame.brand.lang, text=footer)
            return text.replace("</p:spTree>", f"{box}</p:spTree>")
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
