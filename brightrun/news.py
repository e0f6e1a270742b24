"""What a job's books say that people want to hear, each with a key by which it is told once. Pure.

    news(row, pods, last_progress, stuck_after, now) -> (News(key, kind, title, lines), ...)

Nothing is remembered here: the outbox drops what it has told before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from brightrun.frozen import Frozen
from brightrun.jobs import Overrides
from brightrun.ledger import AttemptRow, JobRow, Status
from brightrun.losses import successions
from brightrun.verdicts import MetricName, Verdict

# What to change when a claim fails: field -> how, in the words of --set.
REMEDIES = {
    "perplexity": ("epochs", 1, "one more epoch: it learned too little of the voice"),
    "emotional_intelligence": ("epochs", 1, "one more epoch: it learned too little of the voice"),
    "knowledge_retention": ("learning_rate", 0.5, "half the learning rate: it forgot too much"),
}
CHANGES = (MetricName.perplexity, MetricName.emotional_intelligence)


class News(Frozen):
    """kind: see `people.Kind`."""

    key: str
    kind: str
    title: str
    lines: tuple[str, ...] = ()


def news(
    row: JobRow,
    pods: Sequence[AttemptRow],
    last_progress: datetime | None,
    stuck_after: timedelta,
    now: datetime,
) -> tuple[News, ...]:
    """Interruptions, what followed them, and a pod that lives and does nothing."""
    name, found = f"Bright Run job {row.job_id}", []
    lost = {after.number: pod for pod, after in successions(pods)}
    for pod in pods:
        if pod.interrupted:
            step = f" after step {pod.last_step}" if pod.last_step else ""
            found.append(
                News(
                    key=f"interrupted:{row.job_id}:{pod.number}",
                    kind="interrupted",
                    title=f"{name} was interrupted",
                    lines=(f"Pod {pod.number} ({pod.outcome}){step}{what_now(pod, pods)}",),
                )
            )
        before = lost.get(pod.number)
        if before is not None and pod.started_at is not None:
            gone = before.ended_at or pod.launched_at
            minutes = (pod.started_at - gone).total_seconds() / 60
            found.append(
                News(
                    key=f"resumed:{row.job_id}:{pod.number}",
                    kind="resumed",
                    title=f"{name} goes on",
                    lines=(f"From step {pod.resumed_from or 0}, {minutes:.0f} min later",),
                )
            )
    live = pods[-1] if pods and pods[-1].ended_at is None else None
    if live is not None and live.started_at is not None and row.status == Status.running:
        since = max(live.started_at, last_progress or live.started_at)
        if now - since > stuck_after:
            minutes = (now - since).total_seconds() / 60
            found.append(
                News(
                    key=f"stuck:{row.job_id}:{live.number}:{since:%H%M}",
                    kind="stuck",
                    title=f"{name} is stuck",
                    lines=(
                        f"Pod {live.number} lives, and nothing has moved for {minutes:.0f} min",
                        f"Look: brightrun events {row.job_id} --since 1h",
                        f"Stop it: brightrun cancel {row.job_id} (its checkpoints are kept)",
                    ),
                )
            )
    return tuple(found)


def what_now(pod: AttemptRow, pods: Sequence[AttemptRow]) -> str:
    """Whether there is another one already; nobody knows yet whether there will be."""
    return "; another one is rented" if any(p.number > pod.number for p in pods) else ""


def measured(verdict: Verdict) -> str:
    """A change has its sign; what was kept or right is a share of all."""
    sign = "+" if verdict.metric in CHANGES else ""
    return "" if verdict.estimate is None else f" ({verdict.estimate:{sign}.1%})"


def settable(field: str, value: float) -> bool:
    """Whether `--set` takes it: nobody is told to train 21 epochs."""
    try:
        return Overrides.model_validate({field: value}) is not None
    except ValidationError:
        return False


def below_target(
    job_id: str, values: Mapping[str, Any], verdicts: Sequence[Verdict]
) -> tuple[str, ...]:
    """Claims that failed as planned, and the retry that would mend them; empty: none did.

    values: of the job's request, by field."""
    failed = [v for v in verdicts if v.standing == "fail"]
    if not failed:
        return ()
    lines, sets = [], {}
    for verdict in failed:
        lines.append(f"{verdict.metric.replace('_', ' ')}: below target{measured(verdict)}")
        remedy = REMEDIES.get(verdict.metric)
        if remedy is not None:
            field, by, why = remedy
            before = values[field]
            after = before + by if field == "epochs" else before * by
            if settable(field, after):
                sets[field] = after
                lines.append(f"Suggested: {field}: {before:g} -> {after:g} ({why})")
    if sets:
        options = " ".join(f"--set {field}={value:g}" for field, value in sets.items())
        lines.append(f"Train again: brightrun retry {job_id} {options}")
    return tuple(lines)
