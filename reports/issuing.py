"""Make a report of a job, number it, and write down what was made: only that is an issued report.

first(job)                        the validation report of the flow, version 1
again(job, brand=..., ...)        the same from the run folder at any later time, without a GPU
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from brightrun.brand import Brand
from brightrun.context import JobContext
from brightrun.errors import ReportError
from brightrun.figures import Figures
from brightrun.ledger import Ledger
from brightrun.ledger_reports import FileFacts, ReportRow
from brightrun.runfolder import sha256_file
from brightrun.verdicts import Evaluation, Issue, ReportData
from reports import collect, render, stephistory
from reports.render import Rendered

VALIDATION = "validation"
Make = Callable[[ReportData, Path], Rendered]


def evaluation_of(job: JobContext) -> Evaluation:
    """What was concluded last; ReportError before the job was evaluated."""
    if not job.folder.exists("evals/evaluation.json"):
        raise ReportError(
            f"job {job.job_id} has no evaluation yet",
            cause=f"it is {job.ledger.job(job.job_id).status}",
            fix=f"let it finish: brightrun train --resume {job.job_id}",
        )
    return Evaluation.model_validate(job.folder.read_json("evals/evaluation.json"))


def first(job: JobContext) -> ReportRow:
    """The job's own validation report, into its reports folder."""
    row = job.ledger.job(job.job_id)

    def write(taken: ReportRow) -> Rendered:
        data = collect.collect(job, evaluation_of(job))
        stamped = data.model_copy(update={"issue": identity(taken)})
        return render.render(stamped, job.reports_folder, attached=stephistory.attachment(job))

    return numbered(
        job.ledger,
        job.job_id,
        VALIDATION,
        write,
        job_id=job.job_id,
        title=row.name,
        client=row.client,
        created_by=row.requested_by,
    )


def again(
    job: JobContext,
    *,
    kind: str = VALIDATION,
    make: Make | None = None,
    brand: Brand | None = None,
    figures: Figures | None = None,
    evaluation: Evaluation | None = None,
    audience: str = "",
    by: str = "",
) -> ReportRow:
    """Another report from run folder and ledger: its own folder, the next version.

    make: writes its files; default: the validation report with every step's metrics attached.
    """
    brand, make = brand or Brand(), make or validation_of(job)
    data = contract(job, evaluation or evaluation_of(job))
    client = brand.client or data.client
    data = data.model_copy(update={"brand": brand, "figures": figures, "client": client})

    def write(taken: ReportRow) -> Rendered:
        place = job.reports_folder / f"{kind}-{taken.version}"
        made = make(data.model_copy(update={"issue": identity(taken)}), place)
        job.folder.upload_folder(place, f"reports/{taken.report_id}", {"engine": made.engine})
        return made

    return numbered(
        job.ledger,
        job.job_id,
        kind,
        write,
        job_id=job.job_id,
        audience=audience,
        title=data.name,
        client=client,
        created_by=by,
    )


def newest(job: JobContext, kind: str) -> ReportRow | None:
    """The latest issued report of a kind."""
    found = [row for row in job.ledger.reports(job_id=job.job_id) if row.kind == kind]
    return max(found, key=lambda row: row.version) if found else None


def issued_file(
    job: JobContext, report: ReportRow | None, name: str, kind: str = VALIDATION
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


def validation_of(job: JobContext) -> Make:
    return partial(render.render, attached=stephistory.attachment(job))


def numbered(
    ledger: Ledger, scope: str, kind: str, write: Callable[[ReportRow], Rendered], **facts: Any
) -> ReportRow:
    """Reserve the next version, write its files, and issue it."""
    taken = ledger.reserve_report(scope, kind, **facts)
    return issued(ledger, taken, write(taken))


def month_scope(month: str, client: str) -> str:
    """`2026-11-acme-1f0c9a3e`, `2026-11-all`: what a month's cost report is about."""
    name = client.lower()
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:40] or "client"
    # Clients whose names differ by signs or script only share a slug.
    return f"{month}-{slug}-{_short(name)}" if client else f"{month}-all"


def runs_scope(job_ids: Sequence[str]) -> str:
    """Some jobs in their order, as a short name."""
    return f"runs-{_short(' '.join(job_ids))}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def contract(job: JobContext, evaluation: Evaluation) -> ReportData:
    """report.json of a job as it stands now; what the first report knew of its run stays."""
    kept = "report/report.json"
    before = None
    if job.folder.exists(kept):
        before = ReportData.model_validate(json.loads(job.folder.read_bytes(kept)))
    return collect.collect(job, evaluation, before)


def identity(taken: ReportRow) -> Issue:
    return Issue(report_id=taken.report_id, version=taken.version, audience=taken.audience)


def issued(ledger: Ledger, taken: ReportRow, made: Rendered) -> ReportRow:
    """Write down the files' hashes: from now on `brightrun verify` knows them."""
    return ledger.issue_report(
        taken.report_id,
        fingerprint=made.fingerprint,
        folder=str(made.files[0].parent),
        engine=made.engine,
        made={f.name: FileFacts(sha256_file(f), f.stat().st_size) for f in made.files},
    )
