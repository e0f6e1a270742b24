"""The pieces of a job that need large libraries, each run as `python -m tasks.pieces NAME JOB`.

What it has to say goes to stdout as one JSON object: {told: [[text, is warning]], answer | error}.
No Prefect here, and what a piece needs is imported inside it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from brightrun.context import JobContext, open_job
from brightrun.outages import told
from tasks.freezing import Tell


def validate(job: JobContext, tell: Tell) -> Any:
    """validation.json of a valid file; the table for the file's card. DatasetError: its defects."""
    from brightrun import smoke
    from expectations.dataset_report import dataset_tables
    from tasks import freezing

    report = freezing.read_file(job)
    if not report.valid:
        raise freezing.dataset_error(report)
    table = dataset_tables(report)
    if job.request.smoke:
        report = smoke.sample(report)
    job.folder.write_json("validation.json", json.loads(report.model_dump_json()))
    return table.model_dump(mode="json")


def plan(job: JobContext, tell: Tell) -> Any:
    """data/, plan/, spec.json, and the spec in the ledger; its hash."""
    from tasks import freezing

    spec = freezing.frozen_spec(job, tell)
    found, made = spec.spec_hash(), spec.model_dump(mode="json")
    job.folder.write_json("spec.json", {"job_id": job.job_id, "spec_hash": found, "spec": made})
    job.ledger.update_job(job.job_id, spec_hash=found, spec=made)
    return found


def evaluate(job: JobContext, tell: Tell) -> Any:
    """evaluation.json, also in the ledger; the baseline's scores are kept for later jobs."""
    from evals import attainable
    from evals.assess import assess

    found = assess(job.folder, job.spec)
    job.ledger.save_evaluation(job.job_id, found)
    job.folder.write_json("evals/evaluation.json", json.loads(found.model_dump_json()))
    attainable.keep(job.folder, job.spec, found.verdicts)


def report(job: JobContext, tell: Tell) -> Any:
    """The validation report, issued and stored."""
    from reports import issuing

    issued = issuing.first(job)
    job.folder.upload_folder(job.reports_folder, "report", {"engine": issued.engine})


PIECES: dict[str, Callable[[JobContext, Tell], Any]] = {
    "validate": validate,
    "plan": plan,
    "evaluate": evaluate,
    "report": report,
}


def main() -> None:
    """Obeys nobody but its parent: that ends it, or is gone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with, args=(os.getppid(),), daemon=True).start()
    name, job_id = sys.argv[1:]
    # Whatever a library prints is no answer.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    lines: list[tuple[str, bool]] = []
    found: dict[str, Any] = {"told": lines}

    def tell(text: str, warning: bool) -> None:
        lines.append((text, warning))

    try:
        found["answer"] = PIECES[name](open_job(job_id), tell)
    except Exception as error:  # noqa: BLE001 raised again where it was asked for
        traceback.print_exc()
        found["error"] = told(error).as_dict()
    with answers:
        json.dump(found, answers)


def die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
