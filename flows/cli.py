"""The terminal's door. `brightrun --help` imports neither Prefect nor torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from brightrun import __version__
from brightrun.errors import BrightRunError, UsageError
from flows import (
    cli_adapters,
    cli_appfiles,
    cli_backup,
    cli_clean,
    cli_daily,
    cli_decide,
    cli_doctor,
    cli_estimate,
    cli_evaluate,
    cli_export,
    cli_files,
    cli_history,
    cli_jobs,
    cli_learned,
    cli_limits,
    cli_money,
    cli_people,
    cli_playground,
    cli_pods,
    cli_rate,
    cli_reports,
    cli_retry,
    cli_share,
    cli_steer,
    cli_train,
    cli_volume,
)

EPILOG = "Exit codes: 0 fine, 1 the input or the job failed, 2 wrong use, 3 waiting for a person."
WRONG_USE = 2


@contextmanager
def in_json() -> Iterator[None]:
    """Wrong use that typer finds is told in JSON too, where JSON was asked for."""
    try:
        yield
    except TyperException as error:
        if error.exit_code == WRONG_USE and "--json" in sys.argv:
            from flows.terminal import emit

            ctx = getattr(error, "ctx", None)
            where = ctx.command_path if ctx else "brightrun"
            fault = UsageError(error.format_message(), fix=f"see `{where} --help`")
            emit({"error": fault.as_dict()})
        raise


class Told(TyperGroup):
    """The root's own options are parsed in make_context, those of commands in invoke."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **more: Any) -> Any:
        with in_json():
            return super().make_context(info_name, debug_first(args), *rest, **more)

    def invoke(self, ctx: Any) -> Any:
        with in_json():
            return super().invoke(ctx)


def debug_first(args: list[str]) -> list[str]:
    """`--debug` is the root's own option; people write it after the command too."""
    return ["--debug", *(a for a in args if a != "--debug")] if "--debug" in args else args


app = typer.Typer(
    name="brightrun",
    cls=Told,
    help="Fine-tune a financial adviser's voice, measure what changed, prove it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_adapters.app, name="adapters")
app.add_typer(cli_limits.app, name="budget")
cli_files.files.command("fetch")(cli_appfiles.fetch)
app.add_typer(cli_files.files, name="files", help="Register training files and look at them.")
app.add_typer(cli_clean.client, name="client")
cli_doctor.setup.command("volume")(cli_volume.volume)
app.add_typer(cli_doctor.setup, name="setup")
app.add_typer(cli_daily.template, name="template")
app.add_typer(cli_share.shares, name="shares")
app.add_typer(cli_rate.rate, name="rate", help="Let people (blind sheets) or language models rate.")
COMMANDS: tuple[Callable[..., None], ...] = (
    cli_files.validate, cli_files.preview, cli_estimate.estimate,
    cli_learned.presets,
    cli_train.train, cli_retry.retry, cli_decide.wait, cli_decide.approve, cli_decide.cancel,
    cli_evaluate.evaluate, cli_playground.playground,
    cli_steer.pause, cli_steer.switch, cli_steer.prioritize,
    cli_history.jobs, cli_jobs.show, cli_jobs.events, cli_jobs.watch, cli_pods.reap,
    cli_daily.note, cli_daily.scorecard,
    cli_doctor.doctor, cli_money.reconcile, cli_adapters.nightly,
    cli_people.people, cli_people.digest, cli_clean.clean, cli_backup.backup, cli_backup.restore,
    cli_reports.report, cli_reports.compare, cli_reports.reports, cli_reports.verify,
    cli_share.share, cli_export.export, cli_export.package,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    if debug:
        os.environ["BRIGHTRUN_DEBUG"] = "1"


def main() -> None:
    """Console script: errors are told in words; `--debug` shows where they came from."""
    try:
        app()
    except BrightRunError as error:
        from flows.terminal import complain

        if "--debug" in sys.argv:
            raise
        complain(error, as_json="--json" in sys.argv)
        sys.exit(WRONG_USE if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(1)
    except Exception as error:
        from brightrun.outages import told
        from flows.terminal import complain

        if "--debug" in sys.argv:
            raise
        complain(told(error), as_json="--json" in sys.argv)
        sys.exit(1)


if __name__ == "__main__":
    main()
