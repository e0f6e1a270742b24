"""What a finished job teaches the next estimate: seconds of each part and their size. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from types import MappingProxyType

from brightrun.durations import Observed, Work, units
from brightrun.estimates import newest, training_seconds
from brightrun.happening import Happening
from brightrun.jobs import Hyperparameters
from brightrun.physics import Machine, ModelProfile
from brightrun.progress import Progress
from brightrun.starts import Start

PARTS = ("model_loading", "preprocessing", "training", "measuring", "finalization")
LATE = ("measuring", "finalization")  # stages in which nothing of a lost pod's is done again
NOT_COUNTED: Mapping[str, float] = MappingProxyType({})
BOOT = ("create", "boot", "import")  # of a start; the rest is loading, or waiting for a machine


def observed_parts(
    done: Progress,
    work: Work,
    machine: Machine,
    model: ModelProfile,
    values: Hyperparameters,
    *,
    fetched_s: float = 0.0,
    starts: Sequence[Start] = (),
    once: Iterable[str] = (),
    trained_s: float | None = None,
    cpu: Mapping[str, float] = NOT_COUNTED,
) -> list[Observed]:
    """One row per finished pod stage, and the boot: the median of its pods' starts.

    fetched_s: of preprocessing, while the base model came from elsewhere; the next job finds it.
    once: stages that one pod did alone (`begun_once`); trained_s: `trained`, of a job with several
    pods; cpu: `cpu_seconds`; none of preprocessing with a fetch in it.

    A job with several pods loaded its model twice and trained some steps twice: its times would
    teach the next estimate to expect an interruption. Of such a job count the steps that stand
    (where one is not known, the speed that a pod forecast from its first micro-steps: without
    saves), and the last stages that one pod did alone.
    """
    sizes = units(work, machine, model, values)

    def seen(part: str, seconds: float, worked: float | None = None) -> Observed:
        key, size = (machine.key, model.name, values.precision), sizes.get(part, 0.0)
        return Observed(*key, part, size, seconds, cpu_seconds=worked)

    found = []
    if starts:
        boots = [sum(start.parts[name] for name in BOOT) for start in starts]
        found.append(seen("boot", median(boots)))
    if done.pods > 1 and trained_s is None and done.calibration is not None:
        trained_s = training_seconds(done.calibration)
    if done.pods > 1 and trained_s is not None:
        found.append(seen("training", trained_s))
    undisturbed = PARTS if done.pods <= 1 else tuple(name for name in LATE if name in once)
    for stage in done.stages:
        if stage.name in undisturbed and stage.status == "finished":
            fetched = fetched_s if stage.name == "preprocessing" else 0.0
            worked = None if fetched else cpu.get(stage.name)
            found.append(seen(stage.name, stage.elapsed_s - fetched, worked))
    return found


def trained(events: Iterable[Happening]) -> float | None:
    """Seconds of a whole training as if no pod had been lost: each step that stands, from the one
    before it (saves and validations in between), a pod's first by itself, and what followed the
    last. None: not all of it is known."""
    steps: dict[int, dict[int, Happening]] = {}
    last, ended = 0, None
    for event in events:
        said = event.payload
        if event.type == "metric" and "loss" in said and said.get("seconds") is not None:
            steps.setdefault(event.attempt, {})[said["step"]] = event
            last = said["total_steps"]
        elif event.type == "stage" and said["name"] == "training" and said["status"] == "finished":
            ended = event
    standing = newest(steps)
    if ended is None or any(number not in standing for number in range(1, last + 1)):
        return None
    if not last or standing[last].attempt != ended.attempt:
        return None
    seconds = (ended.ts - standing[last].ts).total_seconds()
    for number in range(1, last + 1):
        before, step = standing.get(number - 1), standing[number]
        if before is not None and before.attempt == step.attempt:
            seconds += (step.ts - before.ts).total_seconds()
        else:
            seconds += float(step.payload["seconds"])
    return seconds


def cpu_seconds(events: Iterable[Happening]) -> dict[str, float]:
    """Of the processors by stage, as the pod that finished it says; older trainers do not."""
    return {
        event.payload["name"]: float(event.payload["cpu_s"])
        for event in events
        if event.type == "stage" and event.payload.get("cpu_s")
    }


def begun_once(events: Iterable[Happening]) -> frozenset[str]:
    """Stages that began in one attempt only."""
    begun = Counter(
        event.payload["name"]
        for event in events
        if event.type == "stage" and event.payload["status"] == "started"
    )
    return frozenset(name for name, times in begun.items() if times == 1)
