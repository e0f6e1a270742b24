"""The result of a job, as JSON and in words. Reads the ledger only; no Prefect."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brightrun import losses
from brightrun.accounts import losses_of
from brightrun.context import open_job
from brightrun.counting import count
from brightrun.ledger import Status
from brightrun.remains import kept
from brightrun.settings import load
from flows.server import run_page
from flows.terminal import facts, money, say, table, tell, wide

PLACES = ("report_html", "report_pdf", "package", "run_folder")
VERDICT_COLUMNS = (
    "claim", "evidence", "n", "base", "trained", "effect", "95 % CI", "target", "verdict",
)  # fmt: skip
LATER = "*"
SHORT = {
    "emotional_intelligence": "EI",
    "knowledge_retention": "knowledge",
    "llm_judge": "judge",
    "llm_judge_uncalibrated": "raw judge",
    "measurement": "measured",
}


def summary(job_id: str) -> dict[str, Any]:
    """The issue's object: ids, paths, verdicts, interruptions, cost."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    pods = job.ledger.attempts(job_id)
    found = job.ledger.evaluation(job_id)
    now, lost = datetime.now(UTC), losses_of(job)
    lost_pods = losses.successions(pods)
    return {
        "job_id": job_id,
        "status": str(row.status),
        "flow_run_id": row.flow_run_id,
        "flow_run_url": run_page(job.settings, row.flow_run_id)[0] if row.flow_run_id else "",
        "run_folder": row.run_folder,
        "report_html": row.report_html,
        "report_pdf": row.report_pdf,
        "package": row.package,
        "verdicts": [v.model_dump(mode="json") for v in found.verdicts] if found else [],
        "interruptions": len(lost_pods),
        "interrupted": losses.sentence(len(lost_pods), lost, job.progress().resumed),
        "losses": [loss.model_dump(mode="json") for loss in lost],
        "resumes": [
            {"killed_at": old.last_step or 0, "resumed_from": new.resumed_from or 0}
            for old, new in lost_pods
        ],
        "steps": max((m.step for m in job.ledger.metrics(job_id)), default=0),
        "adapter_sha256": row.adapter_sha256,
        "cost_usd": float(job.ledger.cost_so_far(job_id, now)),
        "kept": kept(job, now) if row.at_rest and row.status != Status.completed else "",
        "error": row.error,
    }


def show_verdicts(verdicts: list[dict[str, Any]]) -> None:
    """One line a claim."""
    columns = VERDICT_COLUMNS if wide() else [c for c in VERDICT_COLUMNS if c != "effect"]
    rows = [verdict_row(v) for v in verdicts]
    table("Verdicts", columns, [[row[c] for c in columns] for row in rows], keep=columns)
    if any(LATER in row["verdict"] for row in rows):
        tell(f"{LATER} exploratory: not in the plan that was hashed before the training")


def show(found: dict[str, Any]) -> None:
    """What came of it, for a person."""
    if found["error"] and found["status"] != "completed":
        error = found["error"]
        say(f"Job {found['job_id']} {found['status']}: {error['message']}", "red")
        if error["cause"]:
            say(f"  Likely cause: {error['cause']}")
        if error["fix"]:
            say(f"  Fix: {error['fix']}")
        return
    tell(f"Job {found['job_id']}: {found['status']}")
    if found["status"] == "paused":
        say(f"  {found['kept']}; go on with: brightrun train --resume {found['job_id']}")
    if found["status"] != "completed":
        return
    if found["interrupted"]:
        tell(found["interrupted"])
    show_verdicts(found["verdicts"])
    facts(
        "Result",
        [
            ("cost", f"{money(found['cost_usd'])} for {count(found['steps'], 'step')}"),
            *((name.replace("_", " "), found[name]) for name in PLACES),
            ("Prefect run", prefect_run(found["flow_run_id"])),
        ],
    )


def prefect_run(flow_run_id: str) -> str:
    """Where the run is shown; a run of the terminal appears there once `make ui` is up."""
    if not flow_run_id:
        return ""
    page, up = run_page(load(), flow_run_id)
    return page if up else f"{page} (after `make ui`)"


def verdict_row(v: dict[str, Any]) -> dict[str, str]:
    """One line by column; short words, so that the table fits 80 columns."""

    def number(value: float | None, digits: int = 3) -> str:
        if value is None:
            return "-"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"

    # The target is for raters: a marker's index has another scale and is never held against it.
    index = v["evidence"] == "marker"
    spread = f"{number(v['ci_low'], 2)}..{number(v['ci_high'], 2)}"
    met = "-" if index else v["target_met"].replace("_", " ") + LATER * v["exploratory"]
    cells = (
        SHORT.get(v["metric"], v["metric"].replace("_", " ")),
        SHORT.get(v["evidence"], v["evidence"]),
        str(v["n"]),
        number(v["baseline"]),
        number(v["trained"]),
        number(v["estimate"]),
        "-" if v["ci_low"] is None else spread,
        "rated" if index and v["target"] is not None else number(v["target"]),
        met,
    )
    return dict(zip(VERDICT_COLUMNS, cells, strict=True))
