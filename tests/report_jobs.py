"""A job that was evaluated, as ledger and run folder hold it: for reports, without a training."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import report_samples

from brightrun.context import JobContext
from brightrun.jobs import BaseModelRef, DataRef, Hyperparameters, JobRequest, JobSpec
from brightrun.ledger import Ledger, Status
from brightrun.runfolder import Event, RunFolder
from brightrun.settings import Settings, load
from brightrun.verdicts import Evaluation

START = datetime(2026, 11, 20, 9, 12, 5, tzinfo=UTC)
SHA = "9f2c4e8a7b1d3c5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6"
ESTIMATE = {
    "cost_usd": {"low": 0.05, "likely": 0.07, "high": 0.09},
    "price": {"usd_per_hour": 0.5, "source": "local (notional)", "as_of": "2026-11-20"},
    "parts": {"boot": {"low": 1, "likely": 2, "high": 3},
              "training": {"low": 200, "likely": 300, "high": 400}},
    "stage_seconds": {"training": 300},
    "hours": {"low": 0.1, "likely": 0.14, "high": 0.18},
    "hard_limit_usd": 0.11,
}  # fmt: skip


def spec(**values: Any) -> JobSpec:
    return JobSpec(
        base_model=BaseModelRef(
            name="demo", revision="abc", sha256=SHA, context=8192, template="chatml"
        ),
        data=DataRef(
            name="training-file.json", source_sha256=SHA, train_sha256=SHA, validation_sha256=SHA,
            train_conversations=20, validation_conversations=6, supervised_pairs=71,
            train_tokens=18423, supervised_tokens=9211,
        ),
        values=Hyperparameters(epochs=2, **values),
        plan_sha256="p",
        threads=2,
    )  # fmt: skip


def evaluated_job(
    job_id: str = "261120-7f3a",
    *,
    client: str = "Harbor & Pine Financial",
    name: str = "Empathy for first-time clients",
    evaluation: Evaluation | None = None,
    values: dict[str, Any] | None = None,
    losses: tuple[float, ...] = (2.9, 2.6, 2.4, 2.3),
    start: datetime = START,
    usd: str = "0.0773",
    smoke: bool = False,
    provider: Literal["local", "runpod"] = "local",
) -> JobContext:
    """A completed job of one pod, in the ledger and run folder of BRIGHTRUN_HOME."""
    settings: Settings = load()
    ledger, folder = Ledger.open(settings), RunFolder(settings.storage, job_id)
    frozen = spec(**(values or {}))
    request = JobRequest(training_file="training-file.json", client=client, name=name,
                         requested_by="maria.lopez", preset="demo", smoke=smoke,
                         provider=provider)  # fmt: skip
    ledger.create_job(job_id, request, at=start)
    ledger.update_job(job_id, estimate=ESTIMATE, spec=frozen.model_dump(mode="json"),
                      spec_hash=frozen.spec_hash())  # fmt: skip
    ledger.add_attempt(
        job_id, 1, provider="local", market="on_demand", pod_name=f"br-{job_id}-1",
        usd_per_hour=Decimal("0.50"), launched_at=start,
    )  # fmt: skip
    ledger.ingest(job_id, [event(n, start, loss) for n, loss in enumerate(losses, 1)])
    ledger.end_attempt(job_id, 1, start + timedelta(minutes=9), "done", cost_usd=Decimal(usd))
    folder.write_json("spec.json", {"spec": frozen.model_dump(mode="json")})
    folder.write_json("estimate.json", ESTIMATE)
    folder.write_json("gate.json", {"how": "confirmed", "by": "maria.lopez"})
    folder.write_json("data/manifest.json", {"validation_supervised_tokens": 3210})
    found = evaluation or report_samples.evaluation()
    ledger.save_evaluation(job_id, found)
    folder.write_json("evals/evaluation.json", json.loads(found.model_dump_json()))
    ledger.update_job(job_id, status=Status.completed, finished_at=start + timedelta(minutes=10),
                      adapter_sha256=SHA)  # fmt: skip
    return JobContext(settings, ledger, job_id)


def event(n: int, start: datetime, loss: float) -> Event:
    """The n-th optimizer step of pod 1."""
    facts = {"step": n, "epoch": n / 2, "loss": loss, "learning_rate": 2e-4 / n,
             "total_steps": 4, "tokens": 900 * n, "tokens_per_s": 110.0}  # fmt: skip
    ts = start + timedelta(seconds=60 + 30 * n)
    return Event.model_validate(
        {"ts": ts, "attempt": 1, "seq": n, "type": "metric", "payload": facts}
    )
