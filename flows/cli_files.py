"""Commands about training files: register, validate, preview."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from brightrun.counting import count
from brightrun.errors import DatasetError, UsageError
from flows.checking import (
    MOST_TOKENS,
    UNCHANGED,
    checked,
    examined,
    existing,
    registered,
    show_report,
    state_of,
    tokenizer_of,
)
from flows.options import BaseModel, File, Json, QualityMin

if TYPE_CHECKING:
    from brightrun.ledger import FileRow

LISTS = ("errors", "warnings", "notes")
PREVIEWED = 3
CHECKED_BYTES = 10_000_000  # a preview reads a few conversations and must stay quick
files = typer.Typer(no_args_is_help=True)


@files.command("add")
def add(
    file: File,
    name: Annotated[str, typer.Option(help="Name to use later. Default: the file's own.")] = "",
    json: Json = False,
) -> None:
    """Validate a file and register it under a name; an invalid one is not registered."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import emit, say

    settings = load()
    report, close = examined(file)
    if not report.valid:
        show_report(report, json, close)
        raise typer.Exit(1)
    label = name or report.name
    ledger = Ledger.open(settings)
    before = ledger.file(label)
    ledger.register_file(label, file.resolve(), report.summary(), report.sha256)
    other = before.path if before is not None and before.sha256 != report.sha256 else ""
    if json:
        emit({"name": label, **report.summary(), "sha256": report.sha256, "replaced": other})
    if before is not None and other:
        say(f"Replaced: {label} was {other} (sha256 {before.sha256[:12]})", "yellow")
    say(
        f"Registered {label}: {count(report.conversations, 'conversation')}, "
        f"{count(report.pairs, 'pair')}."
    )


@files.command("list")
def list_files(json: Json = False) -> None:
    """Registered files with counts, hash and their last job; files of your Supabase project.

    In --json `state` is unchanged, changed or missing in words, and `valid` is null when the file
    is no longer the one that was registered: nobody has looked at it since.
    """
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.cli_appfiles import of_supabase, show_supabase
    from flows.terminal import emit, table

    settings = load()
    rows = Ledger.open(settings).files()
    there, unknown = of_supabase(settings)
    if json:
        supabase = [one.model_dump() for one in there]
        away = {"supabase_error": unknown} if unknown else {}
        files = [_file_json(r, quick=True) for r in rows]
        emit({"files": files, "supabase": supabase, **away})
        return
    table(
        "Training files",
        ("name", "conv.", "pairs", "valid", "sha256", "last job", "path"),
        [
            (
                r.name,
                r.summary["conversations"],
                r.summary["pairs"],
                valid_of(_file_json(r, quick=True)),
                r.sha256[:12],
                r.last_job or "-",
                r.path,
            )
            for r in rows
        ],
    )
    show_supabase(there)


@files.command("show")
def show_file(
    name: Annotated[str, typer.Argument(help="Registered name")], json: Json = False
) -> None:
    """One registered file; says when its content changed since it was registered.

    `valid` is unknown (null in --json) from then on.
    """
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import emit, say
    from flows.terminal import facts as show_facts

    row = Ledger.open(load()).file(name)
    if row is None:
        raise DatasetError(f"no file is registered as {name!r}", fix="see `brightrun files list`")
    found = _file_json(row)
    if json:
        emit(found)
        return
    state = found["state"]
    valid = "unknown" if found["valid"] is None else "yes" if found["valid"] else "no"
    at = f"{row.registered_at:%Y-%m-%d %H:%M} UTC"
    known = {**found, "valid": valid, "registered_at": at}
    show_facts(row.name, [(k.replace("_", " "), v) for k, v in known.items() if k not in LISTS])
    if state != UNCHANGED:
        say(f"The file is {state}: run `brightrun files add {row.path} --name {row.name}` again.")


def validate(
    file: File,
    quality_min: QualityMin = None,
    max_length: Annotated[
        int, typer.Option(min=128, max=MOST_TOKENS, help="Longest conversation in tokens.")
    ] = 8192,
    split: Annotated[
        bool, typer.Option("--split", help="Split longer ones, as --set too_long=split does.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a training file and list **all** its defects, each with place and mend.

    Example: `brightrun validate examples/training-file.json`
    """
    too_long: Literal["refuse", "split"] = "split" if split else "refuse"
    try:
        report, close = examined(
            file, quality_min=quality_min, max_length=max_length, too_long=too_long
        )
    except DatasetError as error:
        if not json or "BRIGHTRUN_DEBUG" in os.environ:
            raise
        unread(error)
        raise typer.Exit(1) from None
    show_report(report, json, close)
    raise typer.Exit(0 if report.valid else 1)


def unread(error: DatasetError) -> None:
    """The promised object of a file that cannot be read, and the error beside it."""
    from brightrun.conversations import Defect
    from flows.terminal import complain, emit

    none = dict.fromkeys(("conversations", "pairs", "supervised_pairs"), 0)
    defect = Defect(code="unreadable", message=error.message, fix=error.fix)
    lists = {"errors": [defect.model_dump(mode="json")], "warnings": [], "notes": []}
    emit({"valid": False, **none, **lists, "error": error.as_dict()})
    complain(error, as_json=False)


def preview(
    file: File,
    conversation: Annotated[
        int | None,
        typer.Option(min=1, help="Only this one (1 = the first). Default: the first 3."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page instead.")] = None,
    base_model: BaseModel = "",
    json: Json = False,
) -> None:
    """Show what will be trained on: supervised text marked, the rest grey.

    A file of up to 10 MB is checked too, and its defects are counted.
    """
    from itertools import islice

    from brightrun import preview as pages
    from brightrun.reading import conversations
    from flows.terminal import emit, say

    first = 0 if conversation is None else conversation - 1
    last = first + (PREVIEWED if conversation is None else 1)
    file = registered(str(file))
    existing(file)
    wanted = list(islice(conversations(file), first, last))
    if not wanted:
        there = sum(1 for _ in conversations(file))
        raise DatasetError(
            f"{file} has no conversation {first + 1}", fix=f"it has {count(there, 'conversation')}"
        )
    tokenizer = tokenizer_of(base_model)
    whole = None
    if file.stat().st_size <= CHECKED_BYTES:
        whole = checked(file, base_model=base_model)
    title = pages.title_of(file.name, wanted, whole.conversations if whole else None)
    found = len(whole.errors) if whole else 0
    fault = f"{file} has {count(found, 'defect')}: brightrun validate {file}" if found else ""
    if html is not None:
        write_page(html, pages.preview_html(wanted, tokenizer, title=title, fault=fault))
        say(f"Wrote {html}: {title}")
    if json:
        shown = pages.preview_json(wanted, tokenizer)
        emit({"html": html, "title": title, "defects": found, "conversations": shown})
    elif html is None:
        text = pages.preview_text(wanted, tokenizer, colour=sys.stdout.isatty())
        sys.stdout.write(f"{title}\n\n{text}")
        sys.stdout.flush()
    if fault:
        say(fault, "red")


def write_page(place: Path, page: str) -> None:
    """UsageError: nothing can be written there."""
    try:
        place.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write {place}: {error.strerror}",
            fix="give --html a file in a folder that exists and may be written",
        ) from None


def valid_of(found: dict[str, Any]) -> str:
    """yes or no as it was registered, while the file is still that one."""
    known = found["valid"]
    return str(found["state"]) if known is None else "yes" if known else "no"


def _file_json(row: FileRow, *, quick: bool = False) -> dict[str, Any]:
    """valid None: the file is no longer the one that was looked at."""
    state = state_of(row, quick=quick)
    return {
        "name": row.name,
        **row.summary,
        "valid": row.summary["valid"] if state == UNCHANGED else None,
        "state": state,
        "sha256": row.sha256,
        "last_job": row.last_job,
        "registered_at": row.registered_at,
        "path": row.path,
    }
