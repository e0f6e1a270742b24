"""The result of a job, as JSON and in words. Reads the ledger only; no Prefect."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from brightrun.context import open_job
from flows.terminal import ERR, OUT, money, say, table


def summary(job_id: str) -> dict[str, Any]:
    """The issue's object: ids, paths, verdicts, interruptions, cost."""
    job = open_job(job_id)
    row = job.ledger.job(job_id)
    pods = job.ledger.attempts(job_id)
    found = job.ledger.evaluation(job_id)
    return {
        "job_id": job_id,
        "status": str(row.status),
        "run_folder": row.run_folder,
        "report_html": row.report_html,
        "report_pdf": row.report_pdf,
        "package": row.package,
        "verdicts": [v.model_dump(mode="json") for v in found.verdicts] if found else [],
        "interruptions": max(0, len(pods) - 1),
        "resumes": [
            {"killed_at": old.last_step or 0, "resumed_from": new.resumed_from or 0}
            for old, new in pairwise(pods)
        ],
        "steps": max((m.step for m in job.ledger.metrics(job_id)), default=0),
        "adapter_sha256": row.adapter_sha256,
        "cost_usd": float(job.ledger.cost_so_far(job_id, datetime.now(UTC))),
        "error": row.error,
    }


def show(found: dict[str, Any]) -> None:
    """What came of it, for a person."""
    if found["error"] and found["status"] != "completed":
        error = found["error"]
        ERR.print(f"[bold red]Job {found['job_id']} {found['status']}:[/] ", end="")
        say(error["message"])
        if error["cause"]:
            say(f"  Likely cause: {error['cause']}")
        if error["fix"]:
            say(f"  Fix: {error['fix']}")
        return
    OUT.print(f"Job {found['job_id']}: {found['status']}")
    if found["status"] != "completed":
        return
    if count := found["interruptions"]:
        OUT.print(f"Interrupted {count}x, resumed successfully")
    table(
        "Verdicts",
        (
            "claim",
            "evidence",
            "n",
            "baseline",
            "trained",
            "estimate (95 % CI)",
            "target",
            "verdict",
        ),
        [verdict_row(v) for v in found["verdicts"]],
    )
    OUT.print(f"Cost:    {money(found['cost_usd'])}, {found['steps']} steps")
    for label in ("report_html", "report_pdf", "package", "run_folder"):
        OUT.print(f"{label.replace('_', ' ')}: {found[label]}")


def verdict_row(v: dict[str, Any]) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    spread = f"{number(v['estimate'])} ({number(v['ci_low'])} to {number(v['ci_high'])})"
    return (
        v["metric"].replace("_", " "),
        v["evidence"].replace("_", " "),
        str(v["n"]),
        number(v["baseline"]),
        number(v["trained"]),
        "-" if v["estimate"] is None else spread,
        number(v["target"]),
        v["target_met"].replace("_", " "),
    )
