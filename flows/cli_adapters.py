"""`brightrun adapters` and `brightrun nightly`: what is in production, and what the night did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Job, Json

if TYPE_CHECKING:
    from brightrun.ledger import Ledger

app = typer.Typer(
    help="Adapters and their stages: stored, testing, production, archived. Alone: the list.",
    invoke_without_command=True,
)
By = Annotated[str, typer.Option(help="Who decides. Default: git or system user.")]
Reason = Annotated[str, typer.Option(help="Why; it is recorded.")]
Series = Annotated[str, typer.Argument(help="The training file's name, as the list shows it")]


@app.callback()
def default(context: typer.Context, json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_("", json)


@app.command("list")
def list_(
    series: Annotated[str, typer.Option(help="Only of this training file.")] = "",
    json: Json = False,
) -> None:
    """Every finished job's adapter with its stage, newest first."""
    from flows.terminal import emit, table

    rows = opened().adapters(series)
    if json:
        emit({"adapters": [as_json(row) for row in rows]})
        return
    cells = [
        (r.job_id, r.series, r.stage, r.adapter_sha256[:12], f"{r.created_at:%Y-%m-%d %H:%M}")
        for r in rows
    ]
    table("Adapters", ("job", "of", "stage", "sha256", "created"), cells, keep=("job", "stage"))


@app.command()
def history(series: Series, json: Json = False) -> None:
    """Who or what moved which adapter of a training file, and why."""
    from flows.terminal import emit, table

    rows = opened().adapter_moves(series)
    if json:
        said = [{"job_id": r.job_id, "before": r.before, "after": r.after, "by": r.who,
                 "reason": r.reason, "at": r.at} for r in rows]  # fmt: skip
        emit({"series": series, "moves": said})
        return
    cells = [
        (f"{r.at:%Y-%m-%d %H:%M}", r.job_id, f"{r.before} -> {r.after}", r.who, r.reason)
        for r in rows
    ]
    table(f"Moves of {series}", ("at (UTC)", "job", "stage", "by", "why"), cells, keep=("job",))


@app.command()
def promote(job: Job, by: By = "", reason: Reason = "", json: Json = False) -> None:
    """Put a job's adapter into production; the one before is archived.

    Example: `brightrun adapters promote 261122-ab12cd --by Ann --reason "raters preferred it"`
    """
    moved(job, "production", by, reason or "by hand", json)


@app.command("test")
def to_testing(job: Job, by: By = "", reason: Reason = "", json: Json = False) -> None:
    """Put a job's adapter on the stage testing."""
    moved(job, "testing", by, reason or "by hand", json)


@app.command()
def archive(job: Job, by: By = "", reason: Reason = "", json: Json = False) -> None:
    """Take a job's adapter out of use."""
    moved(job, "archived", by, reason or "by hand", json)


@app.command()
def rollback(series: Series, by: By = "", reason: Reason = "", json: Json = False) -> None:
    """Bring back the adapter that was in production before the present one.

    Example: `brightrun adapters rollback spring --by Ann --reason "a client complained"`
    """
    from flows.cli_decide import whoami
    from flows.terminal import emit, say

    row = opened().roll_back(series, by=by.strip() or whoami(), reason=reason or "by hand")
    if json:
        emit(as_json(row))
    say(f"In production of {series} is the adapter of job {row.job_id} again.")


def moved(job: str, stage: str, by: str, reason: str, as_json_: bool) -> None:
    from brightrun.adapters import Stage
    from flows.cli_decide import whoami
    from flows.terminal import emit, say

    ledger = opened()
    job_id = ledger.job(job).job_id
    row = ledger.move_adapter(job_id, Stage(stage), by=by.strip() or whoami(), reason=reason)
    if as_json_:
        emit(as_json(row))
    say(f"The adapter of job {job_id} ({row.series}): {row.stage}.")


def nightly(
    show: Annotated[bool, typer.Option("--show", help="What the last nights did.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="What tonight would do; starts nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Go through a night that was begun before.")
    ] = False,
    at: Annotated[str, typer.Option(help="The night of this moment: 2026-11-23T02:00.")] = "",
    json: Json = False,
) -> None:
    """Train registered files that changed (BRIGHTRUN_NIGHTLY_TEMPLATE), as the deployment does.

    Example: `brightrun nightly --dry-run`
    """
    from brightrun.settings import load
    from flows.terminal import emit, table, tell

    if show:
        nights = opened().last_nights()
        found = {"nights": [night.report or {"night": night.night} for night in nights]}
        rows: list[Any] = [file for night in found["nights"] for file in lines(night)]
    elif dry_run:
        from tasks import nights as steps

        files = [steps.look.fn("", row.name) for row in opened().files()]
        found = {"files": [file.model_dump() for file in files]}
        rows = [("tonight", file.name, file.action, "", file.why) for file in files]
    else:
        from flows import server
        from flows.options import moment_of

        server.ensure(load())
        from flows.nightly import nightly as run

        found = run(again, moment_of(at, load().zone) if at else None)
        rows = lines(found)
        if not found["night"] and not json:
            tell("Nothing was due: no template is set, or this night was begun before (--again).")
    if json:
        emit(found)
    elif rows:
        table("Nights", ("night", "file", "what", "stage", "why"), rows)


def lines(night: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (night["night"], f["name"], f["action"], f.get("stage", ""), f["why"])
        for f in night.get("files", [])
    ]


def opened() -> Ledger:
    from brightrun.ledger import Ledger
    from brightrun.settings import load

    return Ledger.open(load())


def as_json(row: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)
