"""What proves a package or an adapter: without it none leaves the house."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

from brightrun.context import JobContext
from brightrun.errors import ReportError
from brightrun.ledger_reports import ReportRow
from brightrun.sharing import Shared, missing
from brightrun.verdicts import Evaluation, ReportData, Verdict
from reports import archive, issuing, package
from reports.render import CONTRACT, PDF

CHECKED = "package-check.json"


def allowed(job: JobContext, what: Shared, report: ReportRow | None, overridden: bool) -> None:
    """ReportError when the proof is missing and nobody answers for it by name."""
    evaluation = job.ledger.evaluation(job.job_id)
    reasons = missing(
        what,
        reported=report is not None,
        verdicts=evaluation.verdicts if evaluation else (),
        checked=what is not Shared.package or golden_answers(job),
    )
    # The report goes with it: without one nobody can answer for the rest.
    if reasons and not (report and overridden):
        raise ReportError(
            f"the {what} of job {job.job_id} is not shared: {'; '.join(reasons)}",
            cause="nothing is delivered without its proof",
            fix='do what is missing, or answer for it: --override NAME "REASON" (recorded)'
            if report
            else f"first: brightrun report {job.job_id}",
        )
    if report is not None:
        agreed(job, evaluation, report if what is Shared.adapter else None)


def agreed(job: JobContext, ledgers: Evaluation | None, report: ReportRow | None) -> None:
    """ReportError when ledger, run folder and report do not tell the same verdicts.

    They are written one after the other: a killed reassessment leaves the old one in some of them.
    """
    told = {
        "the ledger": ledgers.verdicts if ledgers else (),
        "the run folder": issuing.evaluation_of(job).verdicts,
    }
    if report is not None:
        document = issuing.issued_file(job, report, CONTRACT).read_bytes()
        told[report.report_id] = ReportData.model_validate_json(document).evaluation.verdicts
    if all(verdicts == told["the ledger"] for verdicts in told.values()):
        return
    cause = "an evaluation was cut off before all of them had it"
    fix = f"brightrun evaluate {job.job_id}: it concludes again and issues the next report"
    latest = issuing.newest(job, issuing.VALIDATION)
    if report and latest and latest != report and told["the run folder"] == told["the ledger"]:
        cause = f"{report.report_id} tells an earlier evaluation"
        fix = f"leave --report out: {latest.report_id} is the newest"
    raise ReportError(
        f"{', '.join(told)} do not tell the same verdicts of job {job.job_id}",
        cause=cause,
        fix=fix,
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
