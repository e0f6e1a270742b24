"""Verdicts made again from what lies in the run folder, and the next version of the report.

A report that was issued before keeps its files and, in its report.json, its own evaluation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from brightrun.context import JobContext
from brightrun.ledger_reports import ReportRow
from brightrun.verdicts import Evaluation

EVALUATION = "evals/evaluation.json"


@dataclass(frozen=True, slots=True)
class Reassessed:
    evaluation: Evaluation
    report: ReportRow

    @property
    def html(self) -> Path:
        from reports.render import HTML

        return Path(self.report.folder) / HTML


def reassess(job: JobContext, *, by: str = "") -> Reassessed:
    """Assess again and issue the next report; EvaluationError when the job was not measured.

    by: who or what asked for it.
    """
    from evals import attainable
    from evals.assess import assess
    from reports import issuing

    evaluation = assess(job.folder, job.spec)
    report = issuing.again(job, evaluation=evaluation, by=by)
    # After the report: one that was cut off is made again.
    job.folder.write_json(EVALUATION, json.loads(evaluation.model_dump_json()))
    job.ledger.save_evaluation(job.job_id, evaluation)
    done = Reassessed(evaluation, report)
    pdf = done.html.with_suffix(".pdf")
    job.ledger.update_job(job.job_id, report_html=str(done.html), report_pdf=str(pdf))
    # Here for the first time somebody may have rated the baseline's answers.
    attainable.keep(job.folder, job.spec, evaluation.verdicts)
    return done


def assessed_sheets(job: JobContext) -> dict[str, str]:
    """rater -> sha256 of the sheet that the newest evaluation rests on."""
    if not job.folder.exists(EVALUATION):
        return {}
    found = Evaluation.model_validate(job.folder.read_json(EVALUATION))
    return dict(found.facts.get("judged", {}).get("sheets", {}))
