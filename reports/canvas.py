"""An empty figure in our style, and its SVG. matplotlib is imported inside functions."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = Path(__file__).resolve().parent / "brightrun.mplstyle"


@dataclass(frozen=True, slots=True)
class Chart:
    """An SVG document and what it shows, for those who cannot see it."""

    name: str
    svg: str
    alt: str
    caption: str


def font_folders() -> list[Path]:
    """Where the reports' fonts lie: Source Sans Pro when installed, matplotlib's DejaVu Sans."""
    folders = []
    source_sans = find_spec("font_source_sans_pro")
    if source_sans and source_sans.origin:
        folders.append(Path(source_sans.origin).parent / "files")
    matplotlib = find_spec("matplotlib")
    if matplotlib and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")
    return [folder for folder in folders if folder.is_dir()]


@contextmanager
def figure(width: float, height: float, rows: int = 1, **options: Any) -> Iterator[tuple[Any, ...]]:
    """A figure and its axes in our style, drawn by Agg, closed afterwards."""
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = {Path(font.fname).name for font in font_manager.fontManager.ttflist}
    for folder in font_folders():
        for file in sorted(folder.glob("SourceSansPro-*.ttf")):
            if file.name not in known:
                font_manager.fontManager.addfont(str(file))
    families = {font.name for font in font_manager.fontManager.ttflist}
    with mpl.rc_context(fname=STYLE):
        wanted = mpl.rcParams["font.sans-serif"]
        mpl.rcParams["font.sans-serif"] = [f for f in wanted if f in families]
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        axes = made.subplots(rows, 1, squeeze=False, **options)
        yield (made, *axes[:, 0])


def svg(drawn: Figure) -> str:
    """The SVG without prolog and date: equal data, equal bytes."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
