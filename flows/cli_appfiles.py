"""Files of your own application in Supabase: `files list` shows them, `files fetch` copies one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from brightrun.errors import UsageError
from flows import cli_files
from flows.options import Json

if TYPE_CHECKING:
    from brightrun.appfiles import AppFile
    from brightrun.settings import Settings


def fetch(
    name: Annotated[str, typer.Argument(help="Name or id of a file in your Supabase project")],
    json: Json = False,
) -> None:
    """Copy a file of your own application out of Supabase, check and register it."""
    from brightrun import appfiles
    from brightrun.settings import load

    settings = load()
    if not appfiles.is_configured(settings):
        raise UsageError("no Supabase project is set", fix="set SUPABASE_URL and SUPABASE_KEY")
    found = appfiles.named(settings, name)
    cli_files.add(appfiles.fetch(settings, found), name=found.name, json=json)


def of_supabase(settings: Settings) -> tuple[tuple[AppFile, ...], str]:
    """The project's files, and why they are not known; a project that does not answer hides no
    registered file."""
    from brightrun import appfiles
    from brightrun.errors import StorageError
    from flows.terminal import complain

    if not appfiles.is_configured(settings):
        return (), ""
    try:
        return appfiles.listed(settings), ""
    except StorageError as error:
        complain(error, as_json=False)
        return (), error.message


def show_supabase(found: Sequence[AppFile]) -> None:
    from flows.terminal import table

    if found:
        table(
            "In Supabase (brightrun files fetch NAME)",
            ("name", "conv.", "pairs", "status", "id"),
            [(f.name, f.conversation_count, f.total_training_pairs, f.status, f.id) for f in found],
        )
