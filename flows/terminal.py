"""Printing: people read stderr, programs read one JSON object on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brightrun.errors import BrightRunError

# Where nobody sees a terminal's edge (a file, a pipe, a CI log) tables get room.
PLAIN_WIDTH = 140
WIDE = 100
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
ERR = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


def emit(value: dict[str, Any]) -> None:
    """The one JSON object of a command."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")
    sys.stdout.flush()


def say(text: str, style: str = "") -> None:
    """A line for people on stderr; in a log it stays one line."""
    ERR.print(escape(text), style=style or None, soft_wrap=not ERR.is_terminal)


def tell(text: str) -> None:
    """A line of the answer on stdout; in a file it stays one line."""
    OUT.print(escape(text), soft_wrap=not OUT.is_terminal)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], keep: Sequence[str] = ()
) -> None:
    """A table on stdout; cells are escaped. Columns in `keep` are never broken into lines."""
    grid = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim",
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=column in keep)
    for row in rows:
        grid.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    OUT.print(grid)
    OUT.print()


def wide() -> bool:
    """Whether a table has room for its less important columns."""
    return OUT.width >= WIDE


def facts(title: str, rows: Iterable[tuple[str, Any]]) -> None:
    """Names and values below each other; empty values are left out, long paths stay whole."""
    shown = [(name, str(value)) for name, value in rows if value not in (None, "")]
    room = max((len(name) for name, _ in shown), default=0)
    OUT.print(f"[bold]{escape(title)}[/]")
    for name, value in shown:
        OUT.print(f"[dim]{escape(name.ljust(room))}[/]  {escape(value)}", soft_wrap=True)
    OUT.print()


def complain(error: BrightRunError, *, as_json: bool) -> None:
    """An error as its reader needs it: what, why, how to mend it."""
    if as_json:
        emit({"error": error.as_dict()})
    lines = [f"[bold red]Error[/] ({escape(error.code)}): {escape(error.message)}"]
    if error.cause:
        lines.append(f"  Likely cause: {escape(error.cause)}")
    if error.fix:
        lines.append(f"  [bold]Fix:[/] {escape(error.fix)}")
    ERR.print("\n".join(lines), soft_wrap=True)


def money(usd: float) -> str:
    return f"${usd:,.4f}" if abs(usd) < 1 else f"${usd:,.2f}"


def span(seconds: float) -> str:
    """3725 -> 1 h 02 min; 75 -> 1 min 15 s."""
    whole = round(max(0.0, seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
