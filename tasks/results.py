"""From measurements to verdicts, report and deployment package. No GPU, repeatable."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from brightrun import basemodels, delivered
from brightrun.context import JobContext, open_job
from brightrun.settings import CHECKOUT
from brightrun.verdicts import ReportData, kind_of_test
from reports import cards, issuing, libraries, package, render
from tasks import artifacts, board
from tasks.apart import apart


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate(job_id: str) -> None:
    """Scores, intervals and one verdict per claim."""
    job = open_job(job_id)
    if not job.folder.exists("evals/evaluation.json"):
        with board.stage(job, "evaluate", "evaluating"):
            apart("evaluate", job_id)
    found = issuing.evaluation_of(job)
    artifacts.publish(
        "verdicts",
        cards.verdicts(
            found.verdicts,
            meaningless=kind_of_test(job.spec.base_model.meaningful, job.request.smoke),
        ),
        "What the evidence carries",
    )


@task(name="report", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=5)
def report(job_id: str) -> None:
    """The validation report as HTML and PDF, published under the reports folder."""
    job = open_job(job_id)
    place = job.reports_folder
    if not job.folder.manifest("report") or not (place / render.PDF).exists():
        with board.stage(job, "report", "reporting"):
            apart("report", job_id)
    html, pdf = place / render.HTML, place / render.PDF
    job.ledger.update_job(job_id, report_html=str(html), report_pdf=str(pdf))
    artifacts.link("report", job.report_url, "Open the validation report", "Report of this job")


@task(name="package", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=5)
def package_adapter(job_id: str) -> None:
    """The zip that a client runs, checked after it was written."""
    job = open_job(job_id)
    zips = [n for n in job.folder.names("package") if n.endswith(".zip")]
    if not zips:
        with board.stage(job, "package", "reporting"):
            with room_for(job) as room:
                made = package.build(room, **package_parts(job, room))
                job.folder.upload(made, f"package/{made.name}")
            zips = [made.name]
    note_package(job, zips[0])


def note_package(job: JobContext, name: str) -> str:
    """Where a job's package lies, also in the ledger."""
    uri = f"{job.folder.url}/package/{name}"
    path = str(job.folder.local_path(f"package/{name}")) if job.folder.is_local else uri
    job.ledger.update_job(job.job_id, package=path)
    return path


@contextmanager
def room_for(job: JobContext) -> Iterator[Path]:
    """A folder to make a package in; nothing of it stays on this machine."""
    home = job.settings.home.resolve()
    with tempfile.TemporaryDirectory(prefix=f"package-{job.job_id}-", dir=home) as room:
        yield Path(room)


def package_parts(job: JobContext, room: Path) -> dict[str, Any]:
    """What `package.build` needs: the adapter is fetched into `room` and checked, the rest is read.

    The report is the newest that was issued: verdicts that were made again are told with it.
    """
    issued = issuing.newest(job, issuing.VALIDATION)
    report = issuing.issued_file(job, issued, render.CONTRACT)
    adapter = room / "adapter"
    job.folder.download_folder("adapter", adapter)
    base = basemodels.prepared_folder(job.spec.base_model, job.settings.models)
    asked = {p["id"]: p["messages"] for p in job.folder.read_json("plan/golden.json")["prompts"]}
    rows = job.folder.read_jsonl(delivered.GOLDEN)
    golden = [{**row, "messages": asked[row["id"]]} for row in rows]
    return {
        "adapter": adapter,
        "base_folder": base,
        "data": ReportData.model_validate_json(report.read_bytes()),
        "golden": golden,
        "generation": {
            **golden[0]["settings"],
            "system_prompt": golden[0]["messages"][0]["content"],
            "template": job.spec.base_model.template,
        },
        "inference_script": CHECKOUT / "trainer" / "inference.py",
        "base_model": basemodels.profile(base),
        "report_pdf": issuing.issued_file(job, issued, render.PDF),
        "told": libraries.told(job.folder),
        "required": libraries.required(job.folder),
    }
