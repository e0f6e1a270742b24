"""Commands that hand out: share, and what became of it (`brightrun shares ...`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brightrun.errors import UsageError
from flows.options import Job, Json

if TYPE_CHECKING:
    from brightrun.ledger import Ledger
    from brightrun.ledger_shares import ShareRow
    from brightrun.shelves import Shelf

shares = typer.Typer(no_args_is_help=True)
ShareId = Annotated[str, typer.Argument(metavar="SHARE", help="Id of the share")]


@shares.callback()
def about() -> None:
    """What was handed out: list, new link, revoke, outcome."""


def share(
    job: Job,
    what: Annotated[str, typer.Option(help="report | slides | package | adapter")] = "report",
    expires: Annotated[
        str, typer.Option(help="30d, 24h. Default: reports 30 days, package and adapter 24 hours.")
    ] = "",
    to: Annotated[str, typer.Option("--to", help="Who gets it.")] = "",
    purpose: Annotated[str, typer.Option(help="What for, e.g. 'second meeting'.")] = "",
    as_: Annotated[str, typer.Option("--as", help="pdf | html | pptx")] = "",
    report: Annotated[
        str, typer.Option(metavar="ID", help="Which report, by its id. Default: the newest.")
    ] = "",
    override: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="NAME REASON", help="Answer for what is not proven; recorded."),
    ] = None,
    by: Annotated[str, typer.Option(help="Who shares. Default: git or system user.")] = "",
    json: Json = False,
) -> None:
    """Hand out a report, slides, package or adapter by a link that ends and can be revoked.

    Package and adapter are refused while a headline failed, was not measured or is exploratory, or
    the report is missing; so is a report that was made for somebody else than --to, unless --report
    names it.
    Example: `brightrun share JOB --what adapter --expires 24h --to "Harbor & Pine"`
    """
    from brightrun.context import open_job
    from brightrun.sharing import Shared, expiry
    from brightrun.shelves import shelf_of
    from flows.cli_decide import whoami
    from flows.terminal import emit, facts, say
    from reports import handing

    if what not in set(Shared):
        raise UsageError(f"{what!r} cannot be shared", fix=f"one of: {', '.join(Shared)}")
    name, reason = (part.strip() for part in override or ("", ""))
    if override and not (name and reason):
        raise UsageError("an override needs a name and a reason", fix='--override "Ann" "why"')
    known, thing = open_job(job), Shared(what)
    shelf = shelf_of(known.settings)
    wish = handing.Wish(
        what=thing, span=expiry(expires, thing), by=by.strip() or whoami(), recipient=to,
        purpose=purpose, form=as_, report=report, overridden_by=name, override_reason=reason,
    )  # fmt: skip
    row, link = handing.share(known, wish, shelf)
    if json:
        emit({**as_json(row), "link": link, "notice": shelf.notice})
        return
    facts(
        f"Share {row.share_id}",
        [("what", row.kind), ("report", row.report_id), ("to", row.recipient), ("link", link),
         ("ends", f"{row.expires_at:%Y-%m-%d %H:%M} UTC"), ("sha256", row.sha256),
         ("overridden by", f"{name}: {reason}" if name else "")],
    )  # fmt: skip
    say(shelf.notice)


@shares.command("list")
def list_(
    job: Annotated[str, typer.Option("--job", help="Only this job's.")] = "", json: Json = False
) -> None:
    """What was handed out, to whom, and what came of it; takes down what has expired."""
    from brightrun.errors import StorageError
    from brightrun.settings import load
    from brightrun.sharing import closed
    from flows.terminal import emit, say, table
    from reports import handing

    ledger, shelf = _open()
    for error in handing.tidy(ledger, shelf)[1]:
        say(f"Not taken down: {error}", "yellow")
    try:
        handing.count_downloads(ledger, load().share_logs)
    except StorageError as error:
        say(f"Downloads were not counted: {error}", "yellow")
    rows = ledger.shares(ledger.job(job).job_id if job else None)
    deals = closed((row.kind, row.outcome) for row in rows if row.issued)
    if json:
        emit({"shares": [as_json(row) for row in rows], "deals": deals})
        return
    now = datetime.now(UTC)
    cells = [
        (r.share_id, r.job_id, r.kind, r.recipient, r.state(now), f"{r.expires_at:%Y-%m-%d}",
         seen(r), r.outcome)
        for r in rows
    ]  # fmt: skip
    columns = ("share", "job", "what", "to", "state", "ends", "links", "outcome")
    table("Shares", columns, cells, keep=("share", "job"))
    if deals:
        say(f"Deals: {'; '.join(deals)}")


@shares.command("link")
def link(share_id: ShareId, json: Json = False) -> None:
    """A new link to something that is still shared; counted."""
    from flows.terminal import emit, tell
    from reports import handing

    ledger, shelf = _open()
    made = handing.again(ledger, shelf, share_id)
    if json:
        emit({**as_json(ledger.share(share_id)), "link": made, "notice": shelf.notice})
    else:
        tell(made)


@shares.command("revoke")
def revoke(share_id: ShareId, json: Json = False) -> None:
    """Take it down: every link to it ends."""
    from flows.terminal import emit, say
    from reports import handing

    ledger, shelf = _open()
    row = handing.revoke(ledger, shelf, share_id)
    if json:
        emit(as_json(row))
    else:
        say(f"Share {row.share_id} is revoked; what was downloaded before stays where it is.")


@shares.command("outcome")
def outcome(
    share_id: ShareId,
    came: Annotated[str, typer.Argument(metavar="won|lost|open", help="What came of it")],
    note: Annotated[str, typer.Option(help="Why, for the next offer.")] = "",
    json: Json = False,
) -> None:
    """Which reports lead to closed deals: say what came of a share."""
    from brightrun.sharing import Outcome
    from flows.terminal import emit, say

    if came not in set(Outcome):
        raise UsageError(f"no outcome {came!r}", fix=f"one of: {', '.join(Outcome)}")
    ledger, _ = _open()
    ledger.share(share_id)
    row = ledger.settle_share(share_id, came, note)
    if json:
        emit(as_json(row))
    else:
        say(f"Share {row.share_id}: {row.outcome}.")


def seen(row: ShareRow) -> str:
    """`issued 2, downloads unknown`."""
    downloads = "unknown" if row.downloads is None else str(row.downloads)
    return f"issued {row.issued}, downloads {downloads}"


def _open() -> tuple[Ledger, Shelf]:
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from brightrun.shelves import shelf_of

    settings = load()
    return Ledger.open(settings), shelf_of(settings)


def as_json(row: ShareRow) -> dict[str, Any]:
    """A share as plain values."""
    from dataclasses import asdict

    plain = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(row).items()}
    return {**plain, "state": row.state(datetime.now(UTC)), "seen": seen(row)}
