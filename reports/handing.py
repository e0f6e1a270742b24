"""Handing out: a report, slides, package or adapter onto a shelf, recorded, with a link that ends.

row, link = share(job, Shared.report, shelf, span, ...)
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import zipfile
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
from brightrun.sharing import PROVEN, Shared, missing
from brightrun.shelves import Shelf
from brightrun.verdicts import Evaluation, ReportData, Verdict
from reports import adapterzip, archive, issuing, package
from reports.render import CONTRACT, HTML, PDF

CHECKED = "package-check.json"
KINDS = {Shared.report: "validation", Shared.slides: "slides"}
# Supabase serves HTML as plain text, so there the other file of a kind is shared.
FORMATS = {
    Shared.report: {"pdf": PDF, "html": HTML},
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
    forms = FORMATS.get(wish.what, {})
    if wish.form and wish.form not in forms:
        raise UsageError(
            f"{wish.what} is not shared as {wish.form!r}",
            fix=f"one of: {', '.join(forms)}" if forms else "leave --as out: it is a zip",
        )
    report = newest(job, KINDS.get(wish.what, "validation"))
    if wish.what in PROVEN:
        allowed(job, wish, report)
    share_id = secrets.token_hex(6)
    with tempfile.TemporaryDirectory(prefix="brightrun-share-") as folder:
        file = file_of(job, wish, report, shelf, Path(folder))
        if wish.what is Shared.package:
            report = carried(file, job)
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
    reasons = missing(
        wish.what,
        reported=report is not None,
        verdicts=evaluation.verdicts if evaluation else (),
        checked=wish.what is not Shared.package or golden_answers(job),
    )
    # The report goes with it: without one nobody can answer for the rest.
    if reasons and not (report and wish.overridden_by):
        raise ReportError(
            f"the {wish.what} of job {job.job_id} is not shared: {'; '.join(reasons)}",
            cause="nothing is delivered without its proof",
            fix='do what is missing, or answer for it: --override NAME "REASON" (recorded)'
            if report
            else f"first: brightrun report {job.job_id}",
        )
    if report is not None:
        agreed(job, evaluation, report if wish.what is Shared.adapter else None)


def agreed(job: JobContext, ledgers: Evaluation | None, report: ReportRow | None) -> None:
    """ReportError when ledger, run folder and report do not tell the same verdicts.

    They are written one after the other: a killed reassessment leaves the old one in some of them.
    """
    told = {
        "the ledger": ledgers.verdicts if ledgers else (),
        "the run folder": issuing.evaluation_of(job).verdicts,
    }
    if report is not None:
        document = issued_file(job, report, CONTRACT).read_bytes()
        told[report.report_id] = ReportData.model_validate_json(document).evaluation.verdicts
    if any(verdicts != told["the ledger"] for verdicts in told.values()):
        raise ReportError(
            f"{', '.join(told)} do not tell the same verdicts of job {job.job_id}",
            cause="an evaluation was cut off before all of them had it",
            fix=f"brightrun evaluate {job.job_id}: it concludes again and issues the next report",
        )


def golden_answers(job: JobContext) -> bool:
    """Whether this very zip was unpacked, gave every golden answer and was the measured model."""
    name = packed(job)
    if not job.folder.exists(CHECKED):
        return False
    known = job.folder.read_json(CHECKED)
    with job.folder.fs.open(job.folder.path(f"package/{name}"), "rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    measured = (known.get("as_measured") or {"same": True})["same"]
    return bool(known["same"] == known["asked"] and known["sha256"] == digest and measured)


def packed(job: JobContext) -> str:
    """The name of the job's package; ReportError when there is none."""
    zips = [name for name in job.folder.names("package") if name.endswith(".zip")]
    if not zips:
        raise ReportError(f"job {job.job_id} has no package", fix=f"brightrun package {job.job_id}")
    return zips[0]


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
        file = folder / packed(job)
        job.folder.download(f"package/{file.name}", file)
        return file
    job.folder.download_folder("adapter", folder / "adapter")
    pdf = issued_file(job, report, PDF)
    data = issuing.contract(job, issuing.evaluation_of(job))
    return adapterzip.build(folder, folder / "adapter", data, pdf)


def carried(zipped: Path, job: JobContext) -> ReportRow:
    """The issued report that lies in a whole package; ReportError when it tells old verdicts."""
    issued = job.ledger.report_of_file(archive.verify(zipped).get(PDF, ""))
    with zipfile.ZipFile(zipped) as opened:
        told = [n for n in opened.namelist() if n.endswith(f"/{package.SUMMARY}")]
        verdicts = [v for n in told for v in json.loads(opened.read(n))["verdicts"]]
    holding = issuing.evaluation_of(job).verdicts
    if issued is None or tuple(map(Verdict.model_validate, verdicts)) != holding:
        raise ReportError(
            f"{zipped.name} does not tell the verdicts of job {job.job_id} that hold now",
            cause="the measurements were concluded from again after it was packed",
            fix=f"brightrun package {job.job_id}, then with --check",
        )
    return issued[0]


def report_file(job: JobContext, wish: Wish, report: ReportRow | None, shelf: Shelf) -> Path:
    """A file of an issued report, in the form that was asked for or that the shelf shows best."""
    forms = FORMATS[wish.what]
    shown = [f for f in forms if f != "html" or shelf.name != "supabase"]
    return issued_file(job, report, forms[wish.form or shown[0]], KINDS[wish.what])


def issued_file(
    job: JobContext, report: ReportRow | None, name: str, kind: str = issuing.VALIDATION
) -> Path:
    """A file of an issued report; one that was changed since is refused."""
    if report is None:
        raise ReportError(
            f"job {job.job_id} has no {kind} report",
            fix=f"brightrun report {job.job_id} --kind {kind}",
        )
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
