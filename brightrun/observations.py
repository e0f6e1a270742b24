"""What a finished job teaches the next estimate: seconds of each part and their size. Pure."""

from __future__ import annotations

from brightrun.durations import Observed, Work, units
from brightrun.estimates import training_seconds
from brightrun.jobs import Hyperparameters
from brightrun.physics import Machine, ModelProfile
from brightrun.progress import Progress

PARTS = ("model_loading", "preprocessing", "training", "measuring", "finalization")


def observed_parts(
    done: Progress,
    work: Work,
    machine: Machine,
    model: ModelProfile,
    values: Hyperparameters,
    *,
    fetched_s: float = 0.0,
) -> list[Observed]:
    """One row per finished pod stage.

    fetched_s: of preprocessing, while the base model came from elsewhere; the next job finds it.

    A job with several pods loaded its model twice and trained some steps twice: its times would
    teach the next estimate to expect an interruption. Of such a job only the speed counts that a
    pod measured in its first micro-steps.
    """
    sizes = units(work, machine, model, values)
    if done.pods > 1:
        if done.calibration is None:
            return []
        seconds = training_seconds(done.calibration)
        key = (machine.key, model.name, values.precision)
        return [Observed(*key, "training", sizes["training"], seconds)]
    return [
        Observed(
            machine=machine.key,
            model=model.name,
            precision=values.precision,
            part=stage.name,
            tokens=sizes.get(stage.name, 0.0),
            seconds=stage.elapsed_s - (fetched_s if stage.name == "preprocessing" else 0.0),
        )
        for stage in done.stages
        if stage.name in PARTS and stage.status == "finished"
    ]
