"""What a comparison knows of 2 to 4 jobs, and who is best in a row. Pure but for `gather`.

A row has a winner only where its difference is more than noise: for a measured claim the 95 %
interval of the best lies wholly beyond every other one's, on the same base model and test items;
for cost and duration of evaluated jobs the best is more than NOISE below the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal

from brightrun.brand import Brand
from brightrun.context import JobContext
from brightrun.frozen import Frozen
from brightrun.verdicts import CurvePoint, Evaluation, Issue, MetricName, Verdict, kind_of_test
from reports import claims, collect
from reports.metricwords import words_of

NOISE = 0.05
TEST = "the numbers of a test mean nothing"
FEWEST, MOST = 2, 4
Reading = str | int | float | bool | None


class Run(Frozen):
    """One job of a comparison."""

    job_id: str
    name: str
    client: str
    notes: str
    created_at: datetime
    config: dict[str, Reading]
    evaluation: Evaluation | None
    plan_sha256: str
    validation_sha256: str
    base_identity: str
    meaningless: str
    curve: tuple[CurvePoint, ...]
    cost_usd: float
    hours: float
    interruptions: int


class ComparisonData(Frozen):
    """report.json of a comparison."""

    made_at: datetime
    runs: tuple[Run, ...]
    issue: Issue = Issue()
    brand: Brand = Brand()


class Row(Frozen):
    """One line of the comparison: a text per run; best: its index, None where nobody wins."""

    name: str
    cells: tuple[str, ...]
    best: int | None
    why: str


def gather(jobs: Sequence[JobContext], now: datetime | None = None) -> ComparisonData:
    """Reads ledger and run folders; StorageError for a job that was never planned."""
    moment = now or datetime.now(UTC)
    return ComparisonData(made_at=moment, runs=tuple(_run(job, moment) for job in jobs))


def _run(job: JobContext, now: datetime) -> Run:
    row, spec = job.ledger.job(job.job_id), job.spec
    pods = job.ledger.attempts(job.job_id)
    hours = sum(((p.ended_at or now) - p.launched_at).total_seconds() for p in pods) / 3600
    return Run(
        job_id=job.job_id,
        name=row.name,
        client=row.client,
        notes=row.notes,
        created_at=row.created_at,
        config={
            "base model": spec.base_model.name,
            "base model revision": spec.base_model.revision,
            "training file": PurePath(spec.data.name).name,
            "training file sha256": spec.data.source_sha256[:12],
            "preset": row.preset,
            **spec.values.model_dump(mode="json"),
            "optimizer": spec.optimizer,
            "scheduler": spec.scheduler,
            "threads": spec.threads,
            "provider": row.provider,
            "GPU": pods[-1].gpu if pods else row.gpu,
        },
        evaluation=job.ledger.evaluation(job.job_id),
        plan_sha256=spec.plan_sha256,
        validation_sha256=spec.data.validation_sha256,
        base_identity=spec.base_model.identity,
        meaningless=kind_of_test(spec.base_model.meaningful, job.request.smoke),
        curve=collect.curve(job),
        cost_usd=float(job.ledger.cost_so_far(job.job_id, now)),
        hours=hours,
        interruptions=sum(p.interrupted for p in pods),
    )


def verdict_of(run: Run, metric: MetricName) -> Verdict | None:
    """The run's verdict on a metric; None: not measured."""
    for verdict in run.evaluation.verdicts if run.evaluation else ():
        if verdict.metric is metric and claims.taken(verdict):
            return verdict
    return None


def metric_rows(runs: Sequence[Run]) -> list[Row]:
    """One row a metric that some run measured: change with its interval, and the winner."""
    rows = []
    for metric in MetricName:
        found = [verdict_of(run, metric) for run in runs]
        if not any(found):
            continue
        known = next(v for v in found if v)
        cells = tuple(map(_cell, found))
        best, why = winner(runs, found, metric)
        rows.append(Row(name=words_of(known).label, cells=cells, best=best, why=why))
    return rows


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not measured"
    if not claims.measured(verdict):
        return f"no claim{claims.outside(verdict)}"
    between = claims.estimate_interval(verdict)
    nothing = ", proves nothing" if verdict.proves_nothing else ""
    return f"{claims.estimate(verdict)} ({between}{nothing}{claims.outside(verdict)})"


def winner(
    runs: Sequence[Run], found: Sequence[Verdict | None], metric: MetricName
) -> tuple[int | None, str]:
    """(index of the best or None, why). Pure."""
    known = [(i, v) for i, v in enumerate(found) if v is not None]
    if len(known) < len(runs):
        return None, "not measured in every run"
    if any(v.proves_nothing for _, v in known):
        return None, "withdrawn, or from knowledge at chance: proves nothing"
    if len({v.evidence for _, v in known}) > 1:
        return None, "different kinds of evidence"
    if any(run.meaningless for run in runs):
        return None, TEST
    if len({run.base_identity for run in runs}) > 1:
        return None, "different base models"
    items = {
        (runs[i].validation_sha256 if metric is MetricName.perplexity else runs[i].plan_sha256)
        for i, _ in known
    }
    if len(items) > 1:
        return None, "different test items"
    if any(v.ci_low is None or v.ci_high is None for _, v in known):
        return None, "no interval"
    lower = words_of(known[0][1]).better == "lower"
    sign = 1.0 if lower else -1.0

    def ends(v: Verdict) -> tuple[float, float]:
        """(best end, worst end), smaller is better."""
        low, high = sign * float(v.ci_low or 0.0), sign * float(v.ci_high or 0.0)
        return min(low, high), max(low, high)

    best, mine = min(known, key=lambda pair: sign * float(pair[1].estimate or 0.0))
    if all(ends(mine)[1] < ends(v)[0] for i, v in known if i != best):
        return best, "its interval lies beyond the others'"
    return None, "within noise: the intervals overlap"


def least(values: Sequence[float]) -> tuple[int | None, str]:
    """(index of the smallest, why); None when the next one is within NOISE of it."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    first, second = values[order[0]], values[order[1]]
    if second > 0 and (second - first) / second > NOISE:
        return order[0], f"more than {NOISE:.0%} below the next"
    return None, f"within noise: {NOISE:.0%} or less apart"


def last_losses(run: Run, kind: Literal["loss", "validation_loss"]) -> float | None:
    """The last training or validation loss."""
    values = [value for p in run.curve if (value := getattr(p, kind)) is not None]
    return float(values[-1]) if values else None


def differing(runs: Sequence[Run]) -> tuple[list[tuple[str, tuple[Reading, ...]]], int]:
    """(settings that differ with every run's value, how many are the same)."""
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    rows = [(key, tuple(run.config.get(key) for run in runs)) for key in keys]
    changed = [(key, values) for key, values in rows if len({str(v) for v in values}) > 1]
    return changed, len(rows) - len(changed)


def letters(runs: Sequence[Run]) -> list[str]:
    """A, B, C, D: what the runs are called in the tables."""
    return [chr(ord("A") + i) for i in range(len(runs))]


Number = Callable[[float], str]


def measured_row(
    name: str, values: Sequence[float | None], form: Number, unranked: str | None = None
) -> Row:
    """A row of exact numbers, the least of them best; unranked: why none is."""
    cells = tuple("–" if v is None else form(v) for v in values)
    whole = [v for v in values if v is not None]
    if unranked is not None or len(whole) < len(values):
        return Row(name=name, cells=cells, best=None, why=unranked or "")
    best, why = least(whole)
    return Row(name=name, cells=cells, best=best, why=why)


def plain(value: Any) -> str:
    """A setting as text."""
    return "–" if value in (None, "") else str(value)
