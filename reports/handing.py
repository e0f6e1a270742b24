"""Handing out: a report, slides, package or adapter onto a shelf, recorded, with a link that ends.

row, link = share(job, Wish(what=Shared.report, span=timedelta(days=30), by="Ann"), shelf)
"""

from __future__ import annotations

import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brightrun import downloads
from brightrun.context import JobContext
from brightrun.errors import ReportError, StorageError, UsageError
from brightrun.ledger import Ledger
from brightrun.ledger_reports import ReportRow
from brightrun.ledger_shares import ShareRow
from brightrun.runfolder import sha256_file
from brightrun.sharing import PROVEN, Shared
from brightrun.shelves import Shelf
from reports import adapterzip, issuing, proven
from reports.render import HTML, PDF

KINDS = {Shared.report: "validation", Shared.slides: "slides"}
# Supabase serves HTML as plain text, so there the other file of a kind is shared.
FORMATS = {
    Shared.report: {"pdf": PDF, "html": HTML},
    Shared.slides: {"html": "slides.html", "pptx": "slides.pptx"},
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for. form: pdf, html or pptx; empty: what the shelf shows best.

    report: the id of the one to hand out; empty: the newest, when it was made for nobody else.
    """

    what: Shared
    span: timedelta
    by: str
    recipient: str = ""
    purpose: str = ""
    form: str = ""
    report: str = ""
    overridden_by: str = ""
    override_reason: str = ""


def share(
    job: JobContext, wish: Wish, shelf: Shelf, now: datetime | None = None
) -> tuple[ShareRow, str]:
    """Put it on the shelf, write it down, and make its link. ReportError: refused, and why."""
    moment = now or datetime.now(UTC)
    check_form(wish, shelf)
    report = report_of(job, wish)
    if wish.what in PROVEN:
        proven.allowed(job, wish.what, report, bool(wish.overridden_by))
    share_id = secrets.token_hex(6)
    with tempfile.TemporaryDirectory(prefix="brightrun-share-") as folder:
        file = file_of(job, wish, report, shelf, Path(folder))
        if wish.what is Shared.package:
            report = proven.carried(file, job)
        made_for(report, wish)
        # Written down before it lies anywhere: what a kill leaves on the shelf is listed and ends.
        row = job.ledger.add_share(
            ShareRow(
                share_id=share_id,
                job_id=job.job_id,
                kind=wish.what.value,
                recipient=wish.recipient,
                created_by=wish.by,
                created_at=moment,
                expires_at=moment + wish.span,
                revoked_at=None,
                storage=shelf.name,
                place=shelf.place(share_id, file.name),
                sha256=sha256_file(file),
                report_id=report.report_id if report else "",
                purpose=wish.purpose,
                overridden_by=wish.overridden_by,
                override_reason=wish.override_reason,
                outcome="",
                outcome_note="",
                outcome_at=None,
                issued=0,
                downloads=None,
            )
        )
        put(job.ledger, shelf, file, row)
    link = shelf.link(row.place, int(wish.span.total_seconds()))
    return job.ledger.count_issue(share_id), link


def put(ledger: Ledger, shelf: Shelf, file: Path, row: ShareRow) -> None:
    """Onto the shelf; where that fails the share is revoked, unless something may lie there."""
    try:
        shelf.put(file, row.place, row.expires_at)
    except StorageError:
        with suppress(StorageError):
            shelf.remove(row.place)
            ledger.revoke_share(row.share_id)
        raise


def check_form(wish: Wish, shelf: Shelf) -> None:
    """UsageError when there is no such file, or the shelf does not show it as what it is."""
    forms = FORMATS.get(wish.what, {})
    if wish.form and wish.form not in forms:
        raise UsageError(
            f"{wish.what} is not shared as {wish.form!r}",
            fix=f"one of: {', '.join(forms)}" if forms else "leave --as out: it is a zip",
        )
    if wish.form == "html" and not shelf.shows_html:
        others = " or ".join(form for form in forms if form != "html")
        raise UsageError(
            f"{shelf.name} would show the HTML as plain text",
            cause="Supabase does so unless the project has a domain of its own",
            fix=f"--as {others}, SUPABASE_URL with the project's own domain, or another shelf",
        )


def report_of(job: JobContext, wish: Wish) -> ReportRow | None:
    """The one that was asked for, else the newest of its kind; UsageError: there is none such."""
    kind = KINDS.get(wish.what, issuing.VALIDATION)
    if not wish.report:
        return issuing.newest(job, kind)
    for row in job.ledger.reports(job_id=job.job_id):
        if (row.report_id, row.kind) == (wish.report, kind):
            return row
    raise UsageError(
        f"job {job.job_id} has no {kind} report {wish.report!r}", fix="see `brightrun reports`"
    )


def made_for(report: ReportRow | None, wish: Wish) -> None:
    """UsageError when it is not the one that was asked for, or was made for somebody else."""
    if report is None:
        return
    if wish.report and report.report_id != wish.report:
        raise UsageError(
            f"the package carries {report.report_id}, not {wish.report}",
            fix=f"--report {report.report_id}, or pack the newest: brightrun package JOB",
        )
    if report.audience and not wish.report and report.audience != wish.recipient:
        raise UsageError(
            f"{report.report_id} was made for {report.audience!r}",
            fix=f"--report {report.report_id} hands it out all the same; "
            "`brightrun reports` lists the others",
        )


def file_of(
    job: JobContext, wish: Wish, report: ReportRow | None, shelf: Shelf, folder: Path
) -> Path:
    """The file to hand out, checked against what was written down when it was made."""
    if wish.what in KINDS:
        return report_file(job, wish, report, shelf)
    if wish.what is Shared.package:
        file = folder / proven.packed(job)
        job.folder.download(f"package/{file.name}", file)
        return file
    job.folder.download_folder("adapter", folder / "adapter")
    pdf = issuing.issued_file(job, report, PDF)
    data = issuing.contract(job, issuing.evaluation_of(job))
    return adapterzip.build(folder, folder / "adapter", data, pdf)


def report_file(job: JobContext, wish: Wish, report: ReportRow | None, shelf: Shelf) -> Path:
    """A file of an issued report, in the form that was asked for or that the shelf shows best."""
    forms = FORMATS[wish.what]
    shown = [f for f in forms if f != "html" or shelf.name != "supabase"]
    return issuing.issued_file(job, report, forms[wish.form or shown[0]], KINDS[wish.what])


def again(ledger: Ledger, shelf: Shelf, share_id: str, now: datetime | None = None) -> str:
    """Another link to the same thing, as long as it has not ended; counted."""
    row, moment = ledger.share(share_id), now or datetime.now(UTC)
    if row.state(moment) != "open":
        raise ReportError(
            f"share {share_id} is {row.state(moment)}", fix="share it anew: `brightrun share JOB`"
        )
    fitting(row, shelf)
    link = shelf.link(row.place, int((row.expires_at - moment).total_seconds()))
    ledger.count_issue(share_id)
    return link


def revoke(ledger: Ledger, shelf: Shelf, share_id: str) -> ShareRow:
    """Take it from the shelf: every link that was made ends with it."""
    row = ledger.share(share_id)
    fitting(row, shelf)
    shelf.remove(row.place)
    return ledger.revoke_share(share_id)


def fitting(row: ShareRow, shelf: Shelf) -> None:
    if row.storage != shelf.name:
        raise UsageError(
            f"share {row.share_id} lies on {row.storage}, and BRIGHTRUN_SHARE_URL names "
            f"{shelf.name}",
            fix="set BRIGHTRUN_SHARE_URL to where it was shared",
        )


def count_downloads(ledger: Ledger, logs: str) -> None:
    """Write down how often shares on S3 were fetched; StorageError when the logs cannot be read."""
    now = datetime.now(UTC)
    rows = [row for row in ledger.shares() if row.storage == "s3" and row.state(now) == "open"]
    if not (logs and rows):
        return
    counts = downloads.by_place(downloads.read(logs, min(row.created_at for row in rows)))
    for row in rows:
        # Without a line nothing is known: logging may have begun later, and logs come hours late.
        if row.place in counts:
            ledger.note_downloads(row.share_id, counts[row.place])


def tidy(
    ledger: Ledger, shelf: Shelf, now: datetime | None = None
) -> tuple[list[str], list[StorageError]]:
    """Empty the shelf of what has expired, once: (ids of what was taken down, what failed)."""
    moment = now or datetime.now(UTC)
    gone, failed = [], []
    for row in ledger.shares():
        if row.storage != shelf.name or row.revoked_at or row.state(moment) != "expired":
            continue
        try:
            shelf.remove(row.place)
        except StorageError as error:
            failed.append(error)
            continue
        ledger.revoke_share(row.share_id, moment)
        gone.append(row.share_id)
    return gone, failed
