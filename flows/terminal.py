"""Printing: people read stderr, programs read one JSON object on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brightrun.errors import BrightRunError

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: dict[str, Any]) -> None:
    """The one JSON object of a command."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")
    sys.stdout.flush()


def say(text: str, style: str = "") -> None:
    ERR.print(escape(text), style=style or None)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout; cells are escaped."""
    grid = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    OUT.print(grid)


def complain(error: BrightRunError, *, as_json: bool) -> None:
    """An error as its reader needs it: what, why, how to mend it."""
    if as_json:
        emit({"error": error.as_dict()})
    ERR.print(f"[bold red]Error[/] ({escape(error.code)}): {escape(error.message)}")
    if error.cause:
        ERR.print(f"  Likely cause: {escape(error.cause)}")
    if error.fix:
        ERR.print(f"  [bold]Fix:[/] {escape(error.fix)}")


def money(usd: float) -> str:
    return f"${usd:,.4f}" if abs(usd) < 1 else f"${usd:,.2f}"


def span(seconds: float) -> str:
    """3725 -> 1 h 02 min; 75 -> 1 min 15 s."""
    whole = round(max(0.0, seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
