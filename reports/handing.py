"""Handing out: a report, slides, package or adapter onto a shelf, recorded, with a link that ends.

row, link = share(job, Shared.report, shelf, span, ...)
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brightrun.context import JobContext
from brightrun.errors import ReportError, UsageError
from brightrun.ledger import Ledger
from brightrun.ledger_reports import ReportRow
from brightrun.ledger_shares import ShareRow
from brightrun.runfolder import sha256_file
from brightrun.sharing import Shared, missing
from brightrun.shelves import Shelf
from reports import adapterzip, archive, issuing

CHECKED = "package-check.json"
KINDS = {Shared.report: "validation", Shared.slides: "slides"}
# Supabase serves HTML as plain text, so there the other file of a kind is shared.
FORMATS = {
    Shared.report: {"pdf": "validation-report.pdf", "html": "validation-report.html"},
    Shared.slides: {"html": "slides.html", "pptx": "slides.pptx"},
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for. form: pdf, html or pptx; empty: what the shelf shows best."""

    what: Shared
    span: timedelta
    by: str
    recipient: str = ""
    purpose: str = ""
    form: str = ""
    overridden_by: str = ""
    override_reason: str = ""


def share(
    job: JobContext, wish: Wish, shelf: Shelf, now: datetime | None = None
) -> tuple[ShareRow, str]:
    """Put it on the shelf, write it down, and make its link. ReportError: refused, and why."""
    moment = now or datetime.now(UTC)
    report = newest(job, KINDS.get(wish.what, "validation"))
    allowed(job, wish, newest(job, "validation"))
    share_id = secrets.token_hex(6)
    with tempfile.TemporaryDirectory(prefix="brightrun-share-") as folder:
        file = file_of(job, wish, report, shelf, Path(folder))
        digest = sha256_file(file)
        place = shelf.put(file, share_id, moment + wish.span)
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
            place=place,
            sha256=digest,
            report_id=report.report_id if report else "",
            purpose=wish.purpose,
            overridden_by=wish.overridden_by,
            override_reason=wish.override_reason,
            outcome="",
            outcome_note="",
            outcome_at=None,
            issued=1,
            downloads=None,
        )
    )
    return row, shelf.link(place, int(wish.span.total_seconds()))


def allowed(job: JobContext, wish: Wish, report: ReportRow | None) -> None:
    """ReportError when the proof is missing and nobody answers for it by name."""
    evaluation = job.ledger.evaluation(job.job_id)
    verdicts = evaluation.verdicts if evaluation else ()
    reasons = missing(
        wish.what, reported=report is not None, verdicts=verdicts, checked=golden_answers(job)
    )
    if reasons and not wish.overridden_by:
        raise ReportError(
            f"the {wish.what} of job {job.job_id} is not shared: {'; '.join(reasons)}",
            cause="nothing is delivered without its proof",
            fix='do what is missing, or answer for it: --override NAME "REASON" (recorded)',
        )


def golden_answers(job: JobContext) -> bool:
    """Whether this very zip was unpacked and gave every golden answer."""
    zips = [name for name in job.folder.names("package") if name.endswith(".zip")]
    if not zips or not job.folder.exists(CHECKED):
        return False
    known = job.folder.read_json(CHECKED)
    with job.folder.fs.open(job.folder.path(f"package/{zips[0]}"), "rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return bool(known["same"] == known["asked"] and known["sha256"] == digest)


def newest(job: JobContext, kind: str) -> ReportRow | None:
    """The latest issued report of a kind."""
    found = [row for row in job.ledger.reports(job_id=job.job_id) if row.kind == kind]
    return max(found, key=lambda row: row.version) if found else None


def file_of(
    job: JobContext, wish: Wish, report: ReportRow | None, shelf: Shelf, folder: Path
) -> Path:
    """The file to hand out, checked against what was written down when it was made."""
    if wish.what in KINDS:
        return report_file(job, wish, report, shelf)
    if wish.what is Shared.package:
        zips = [name for name in job.folder.names("package") if name.endswith(".zip")]
        if not zips:
            raise ReportError(
                f"job {job.job_id} has no package", fix=f"brightrun train --resume {job.job_id}"
            )
        job.folder.download(f"package/{zips[0]}", folder / zips[0])
        archive.verify(folder / zips[0])
        return folder / zips[0]
    job.folder.download_folder("adapter", folder / "adapter")
    pdf = report_file(job, wish, report, shelf) if report else folder / "validation-report.pdf"
    data = issuing.contract(job, issuing.evaluation_of(job))
    return adapterzip.build(folder, folder / "adapter", data, pdf)


def report_file(job: JobContext, wish: Wish, report: ReportRow | None, shelf: Shelf) -> Path:
    """A file of an issued report; one that was changed since is refused."""
    if report is None:
        kind = KINDS[wish.what]
        raise ReportError(
            f"job {job.job_id} has no {kind} report",
            fix=f"brightrun report {job.job_id} --kind {kind}",
        )
    forms = FORMATS.get(wish.what, FORMATS[Shared.report])
    shown = [f for f in forms if f != "html" or shelf.name != "supabase"]
    form = wish.form or shown[0]
    if form not in forms:
        raise UsageError(
            f"{wish.what} is not shared as {form!r}", fix=f"one of: {', '.join(forms)}"
        )
    name = forms[form]
    file = Path(report.folder) / name
    if not file.is_file():
        raise ReportError(
            f"{file} is not there any more", fix=f"brightrun report {job.job_id} makes it again"
        )
    if sha256_file(file) != report.files[name].sha256:
        raise ReportError(
            f"{file} is not the file that was issued as {report.report_id}",
            cause="it was changed after it was issued",
            fix=f"make a new one: brightrun report {job.job_id}",
        )
    return file


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
    revoked = ledger.revoke_share(share_id)
    shelf.remove(row.place)
    return revoked


def fitting(row: ShareRow, shelf: Shelf) -> None:
    if row.storage != shelf.name:
        raise UsageError(
            f"share {row.share_id} lies on {row.storage}, and BRIGHTRUN_SHARE_URL names "
            f"{shelf.name}",
            fix="set BRIGHTRUN_SHARE_URL to where it was shared",
        )


def tidy(ledger: Ledger, shelf: Shelf, now: datetime | None = None) -> list[str]:
    """Empty the shelf of what has expired; the ids of what was taken down."""
    moment = now or datetime.now(UTC)
    ended = [r for r in ledger.shares() if r.storage == shelf.name and r.state(moment) == "expired"]
    for row in ended:
        shelf.remove(row.place)
    return [row.share_id for row in ended]
