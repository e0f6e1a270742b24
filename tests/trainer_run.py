"""Support for the trainer's tests: one training on `tiny` in this process, without a pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from trainer_jobs import SMALL, lay_out, payloads, tiny_models

from brightrun import basemodels
from brightrun.jobs import Hyperparameters, JobSpec
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer
from trainer import hardware

# Three steps of five conversations, with dropout.
PLAIN = SMALL.model_copy(update={"epochs": 1, "pairs_per_step": 12, "precision": "fp32"})


class Unsaved:
    """Stands where the saver is: checkpoints have tests of their own. Behind once, at step 1."""

    asked = 0
    lost = False

    def save(self, *_: Any) -> None:
        return

    def behind(self, needed: int) -> bool:
        self.asked += 1
        return self.asked == 1


class Run:
    """One training on `tiny` in this process."""

    def __init__(
        self, place: Path, values: Hyperparameters = PLAIN, validated: tuple[int, ...] = (),
        choices: dict[str, Any] | None = None, models: Path | None = None, training: int = 12,
        saver: Unsaved | None = None, **seams: Any,
    ) -> None:  # fmt: skip
        import torch

        from trainer import data, loading
        from trainer.checkpoints import Schedule
        from trainer.course import Course
        from trainer.narrator import Narrator
        from trainer.reporter import Reporter
        from trainer.stall import StallWatch
        from trainer.train import train
        from trainer.work import Work

        torch.set_num_threads(1)
        models = models or tiny_models()
        self.folder: RunFolder = lay_out(place / "job", models, values, training=training)
        spec = JobSpec.model_validate(self.folder.read_json("spec.json")["spec"])
        base_folder = basemodels.prepared_folder("tiny", models)
        loaded = data.load(self.folder, spec, ChatTokenizer.load(base_folder))
        names = [sample.sample_id for sample in loaded.training]
        plan = data.steps(values.seed, values.epochs, spec.conversations_per_step, names)
        counts = [sum(loaded.training[at].supervised for at in step) for step in plan]
        reporter = Reporter(self.folder, 1, {})
        narrator = Narrator(
            reporter,
            Schedule(100, 100.0, 10**6, 0),
            loaded.held_out,
            frozenset(validated),
            spec.steps_per_epoch,
            None,
            Course(counts, spec.steps_per_epoch),
            StallWatch(lambda error: None),
        )
        work = Work(
            spec, loaded.training, plan, place / "scratch", None, lambda: None,
            **{"activation_tokens": 1 << 20, **seams},
        )  # fmt: skip
        precision = values.precision
        made = loading.decide(
            hardware.place(),
            base_folder,
            basemodels.profile(base_folder),
            values,
            400,
            spec.optimizer,
            choices or {},
        )
        base = loading.load_base(base_folder, precision, made)
        self.saver = saver or Unsaved()
        try:
            self.model = train(work, base, narrator, cast(Any, self.saver))
        finally:
            reporter.flush()
        self.trainer = narrator.trainer
        metrics = payloads(self.folder, "metric")
        self.losses = [m["loss"] for m in metrics if "loss" in m]
        self.validations = [m["validation_loss"] for m in metrics if "validation_loss" in m]
        parameters = self.model.named_parameters()
        self.adapter = torch.cat([p.detach().flatten() for n, p in parameters if "lora" in n])
