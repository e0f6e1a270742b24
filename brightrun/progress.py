"""How far a job is: a pure function of its events, shown by terminal, live page and artifacts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from brightrun import runfolder
from brightrun.estimates import Calibration, calibration_of, training_left
from brightrun.frozen import Frozen
from brightrun.happening import Happening

CONTROL_FIRST = ("validate", "plan", "estimate")
CONTROL_LAST = ("evaluate", "report", "package")
STAGES: tuple[str, ...] = (*CONTROL_FIRST, *runfolder.STAGES, *CONTROL_LAST)
# Until a job has its own estimate: pods take most of the time, so the bar starts low.
USUAL_SECONDS = {
    "validate": 6.0,
    "plan": 8.0,
    "estimate": 1.0,
    "preprocessing": 2.0,
    "model_loading": 15.0,
    "training": 180.0,
    "measuring": 60.0,
    "finalization": 20.0,
    "evaluate": 6.0,
    "report": 10.0,
    "package": 6.0,
}
MEASURED_STEPS = 3
# Writing answers takes most of the measuring; shares of its time in the demo, by the pod's words.
MEASURING = {
    "likelihood": 0.1,
    "neutral": 0.05,
    "knowledge": 0.15,
    "option texts": 0.1,
    "answers": 0.55,
    "influence": 0.05,
}
UNKNOWN_KIND = 0.02
# Counted by the pod: a guess from the time would fall back at the first count.
COUNTED = ("training", "measuring")


# failed, stopped: it was under way when the job ended.
StageStatus = Literal["waiting", "running", "finished", "failed", "stopped"]
# How the job ended, None while it has not.
Over = Literal["failed", "stopped"] | None


class StageProgress(Frozen):
    """Seconds are summed over all attempts; fraction is 0-1."""

    name: str
    status: StageStatus
    expected_s: float
    elapsed_s: float
    remaining_s: float
    fraction: float


class Progress(Frozen):
    """A job at one moment. Losses are (step, loss) in order; pods: those that spoke; resumed: it
    made a step after its last interruption."""

    stages: tuple[StageProgress, ...]
    fraction: float
    elapsed_s: float
    remaining_s: float
    stage: str
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_s: float | None = None
    gpu_percent: float | None = None
    memory_mb: float | None = None
    interruptions: int = 0
    resumed: bool = False
    pods: int = 0
    losses: tuple[tuple[int, float], ...] = ()
    validation_losses: tuple[tuple[int, float], ...] = ()
    warnings: tuple[str, ...] = ()
    calibration: Calibration | None = None

    @property
    def training_left_s(self) -> float:
        """Likely seconds of training that are left."""
        return next(s.remaining_s for s in self.stages if s.name == "training")

    @property
    def shares_left(self) -> dict[str, float]:
        """Of every stage, 0-1."""
        return {s.name: 1 - s.fraction for s in self.stages}


def progress(
    events: Sequence[Happening],
    expected: Mapping[str, float],
    now: datetime,
    *,
    ended: bool = False,
    failed: bool = False,
    interruptions: int = 0,
    resumed: bool = False,
) -> Progress:
    """events in order of time; expected: stage -> seconds (absent ones get a small default).

    ended: the job is over; failed: it ended with an error, and so did the stage it was in;
    interruptions, resumed: as the ledger knows them (`losses.successions`, `losses.went_on`).
    """
    metrics = [e.payload for e in events if e.type == "metric" and "loss" in e.payload]
    by_step = {int(m["step"]): m for m in metrics}
    last = metrics[-1] if metrics else {}
    beat = next((e.payload for e in reversed(events) if e.type == "heartbeat"), {})
    counts = _shares(events)
    over: Over = None if not ended else "failed" if failed else "stopped"
    known, left = calibration_of(events), None
    wanted = {**USUAL_SECONDS, **expected}
    if known is not None:
        left = training_left(known, events)
        wanted["training"] = _trained(events, known) + known.likely
    stages = tuple(
        _stage(name, events, wanted, by_step, last, counts, left, now, over) for name in STAGES
    )
    total = sum(s.expected_s for s in stages) or 1.0
    running = next((s.name for s in reversed(stages) if s.status == "running"), "")
    return Progress(
        stages=stages,
        fraction=min(1.0, sum(s.expected_s * s.fraction for s in stages) / total),
        elapsed_s=max(0.0, (now - events[0].ts).total_seconds()) if events else 0.0,
        remaining_s=sum(s.remaining_s for s in stages),
        stage=running or next((s.name for s in reversed(stages) if s.status == "finished"), ""),
        step=max(by_step, default=0),
        total_steps=int(last.get("total_steps", 0)),
        epoch=float(last.get("epoch", 0.0)),
        loss=last.get("loss"),
        learning_rate=last.get("learning_rate"),
        tokens_per_s=last.get("tokens_per_s"),
        gpu_percent=beat.get("gpu_percent"),
        memory_mb=beat.get("memory_mb"),
        interruptions=interruptions,
        resumed=resumed,
        pods=len({e.attempt for e in events if e.attempt > 0}),
        losses=tuple((step, float(by_step[step]["loss"])) for step in sorted(by_step)),
        validation_losses=_validation(events),
        warnings=tuple(str(e.payload.get("message", "")) for e in events if e.type == "warning"),
        calibration=known,
    )


def _trained(events: Sequence[Happening], known: Calibration) -> float:
    """Seconds of training up to the calibration, those of lost pods included."""
    until = [e for e in events if e.attempt <= known.attempt and e.ts <= known.at]
    return _clock("training", until, known.at, None)[0]


def _stage(
    name: str,
    events: Iterable[Happening],
    expected: Mapping[str, float],
    by_step: Mapping[int, dict[str, Any]],
    last: Mapping[str, Any],
    counts: Mapping[str, float],
    calibrated: float | None,
    now: datetime,
    over: Over,
) -> StageProgress:
    elapsed, again, status = _clock(name, events, now, over)
    guess = max(0.1, float(expected.get(name, 1.0)))
    fraction, remaining = 0.0, guess
    if status == "finished":
        fraction, remaining = 1.0, 0.0
    elif name == "training" and last:
        fraction = max(by_step) / max(1, int(last["total_steps"]))
        seconds = sorted(float(m.get("seconds", 0.0)) for m in by_step.values())
        pace = seconds[len(seconds) // 2] if len(seconds) >= MEASURED_STEPS else None
        left = int(last["total_steps"]) - max(by_step)
        remaining = left * pace if pace is not None else guess * (1 - fraction)
        remaining = remaining if calibrated is None else calibrated
    elif name in counts:
        fraction = counts[name]
        remaining = guess * (1 - fraction)
    elif status == "running":
        # A stage that a new pod goes through again is not less done than it was.
        guessed = 0.0 if name in COUNTED else min(0.95, elapsed / guess)
        fraction = 1.0 if again else guessed
        remaining = max(0.0, guess - elapsed)
    return StageProgress(
        name=name,
        status=status,
        expected_s=guess,
        elapsed_s=elapsed,
        remaining_s=0.0 if over else max(0.0, remaining),
        fraction=min(1.0, fraction),
    )


def _clock(
    name: str, events: Iterable[Happening], now: datetime, over: Over
) -> tuple[float, bool, StageStatus]:
    """Seconds spent in a stage over all attempts, whether it was done before, and its status.

    An attempt that died inside the stage counts up to its last sign of life. Stages of the
    control plane (attempt 0) are not touched by what the pods say.
    """
    total, opened_at, opened_in, seen, done = 0.0, None, 0, None, False
    for event in events:
        if opened_at is not None and event.attempt > opened_in > 0:
            total += _seconds(opened_at, seen)
            opened_at = None
        if event.attempt == opened_in:
            seen = event.ts
        if event.type != "stage" or event.payload.get("name") != name:
            continue
        if event.payload["status"] == "started":
            opened_at, opened_in, seen = event.ts, event.attempt, event.ts
        else:
            total += float(event.payload.get("elapsed_s") or 0.0)
            opened_at, done = None, True
    if opened_at is None:
        return total, done, "finished" if done else "waiting"
    if over is None:
        return total + _seconds(opened_at, now), done, "running"
    return total + _seconds(opened_at, seen), done, over


def _seconds(since: datetime, until: datetime | None) -> float:
    """Never negative: two machines' clocks may differ."""
    return max(0.0, ((until or since) - since).total_seconds())


def _shares(events: Iterable[Happening]) -> dict[str, float]:
    """Stage -> share done, 0-1. Measuring counts several kinds of items, each on its own; of a kind
    of which there are 0 nothing is awaited."""
    done: dict[str, dict[str, float]] = {}
    none: set[str] = set()
    for event in events:
        if event.type != "progress" or event.payload.get("total") is None:
            continue
        kind = str(event.payload.get("what", "")).partition(",")[0]
        if not (total := float(event.payload["total"])):
            none.add(kind)
            continue
        share = min(1.0, float(event.payload["done"]) / total)
        kinds = done.setdefault(str(event.payload["stage"]), {})
        kinds[kind] = max(share, kinds.get(kind, 0.0))
    return {stage: _weighted(stage, kinds, none) for stage, kinds in done.items()}


def _weighted(stage: str, kinds: Mapping[str, float], none: Collection[str]) -> float:
    """Grows with every kind: one that nobody knew of adds to the others, up to 1."""
    if stage != "measuring":
        return min(kinds.values())
    whole = sum(weight for kind, weight in MEASURING.items() if kind not in none)
    done = sum(MEASURING.get(kind, UNKNOWN_KIND) * share for kind, share in kinds.items())
    return min(1.0, done / whole) if whole else 1.0


def _validation(events: Iterable[Happening]) -> tuple[tuple[int, float], ...]:
    found = {
        int(e.payload["step"]): float(e.payload["validation_loss"])
        for e in events
        if e.type == "metric" and "validation_loss" in e.payload
    }
    return tuple(sorted(found.items()))
