"""Commands doctor and setup: is everything there that jobs need, and making what is ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Json

if TYPE_CHECKING:
    from brightrun.findings import Finding

PrefectUrl = Annotated[
    str, typer.Option(help="API of another Prefect server, https://.../api. Default: `make ui`'s.")
]
STYLES = {"ok": "green", "done": "green", "warn": "yellow", "todo": "yellow", "fail": "red"}


def doctor(
    send: Annotated[
        bool, typer.Option("--send", help="Also send a test message on every channel.")
    ] = False,
    prefect_url: PrefectUrl = "",
    json: Json = False,
) -> None:
    """Look at everything that jobs need, each failure with its fix; exit 1 when one failed.

    Nothing is made or changed, and nobody is written to without --send.
    """
    from brightrun import doctor as examination
    from flows import readiness

    # Beside the environment, as its password is one more secret.
    environ = {**os.environ, "--prefect-url": prefect_url}
    found = examination.diagnose(environ, readiness.checks(prefect_url), send=send)
    tell("Doctor", found, json)


setup = typer.Typer(invoke_without_command=True)


@setup.callback()
def make(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made, and make nothing.")
    ] = False,
    prefect_url: PrefectUrl = "",
    json: Json = False,
) -> None:
    """Make what is ours and missing: ledger, bucket, Prefect's database, deployments, automations.

    It may run any number of times. `brightrun doctor` then says what only you can set.
    `brightrun setup volume`: a network volume with the base model, which costs money.
    """
    if ctx.invoked_subcommand is not None:
        return
    from brightrun.doctor_machine import settings_of
    from brightrun.findings import hidden, masked
    from flows import setting_up

    secrets = hidden({**os.environ, "--prefect-url": prefect_url})
    settings, about = settings_of(os.environ)
    found = [masked(one, secrets) for one in about if one.state != "ok"]
    if settings is not None:
        found += setting_up.run(settings, prefect_url, secrets, dry_run=dry_run)
    tell("Set-up", found, json)


def tell(title: str, found: Sequence[Finding], as_json: bool) -> None:
    from brightrun.findings import counts
    from flows.terminal import emit, say, table

    summary = counts(found)
    if as_json:
        rows = [finding.model_dump() for finding in found]
        emit({"healthy": "fail" not in summary, "counts": summary, "findings": rows})
    else:
        columns = ("", "what", "found", "fix")
        table(
            title, columns, [(f.state, f.name, f.said, f.advice) for f in found], keep=("", "what")
        )
    worst = next((state for state in ("fail", "warn", "todo") if state in summary), "ok")
    said = ", ".join(f"{number} {state}" for state, number in summary.items())
    say(f"{title}: {said}", STYLES[worst])
    raise typer.Exit(1 if "fail" in summary else 0)
