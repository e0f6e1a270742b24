"""The training loops that are compared. Each fills `race.model` and runs `race.meter`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback, get_scheduler
from trl import SFTConfig, SFTTrainer

from benches import peer
from benches.meter import Meter
from benches.sample import Material
from brightrun.errors import TrainerError
from brightrun.jobs import JobSpec
from brightrun.runfolder import RunFolder
from trainer import data, loading, loss
from trainer.checkpoints import Schedule
from trainer.course import Course
from trainer.labelled import activation_limit
from trainer.narrator import Narrator
from trainer.reporter import Reporter
from trainer.saver import Saver
from trainer.stall import StallWatch
from trainer.train import lora_config, train
from trainer.work import Work


@dataclass
class Race:
    """One run. `limit`: tokens above which activations are computed twice, None = always."""

    spec: JobSpec
    samples: list[data.Sample]
    plan: list[list[int]]
    base: loading.Base
    held_out: list[data.Sample]
    scratch: Path
    material: Material
    model: Any = None
    limit: int | None = None
    peak_mb: int | None = None  # of another process, where the training was not in this one
    meter: Meter = field(init=False)


class Clocked(TrainerCallback):  # type: ignore[misc]
    """Runs the meter of a HF trainer and keeps its model within reach."""

    def __init__(self, race: Race) -> None:
        self.race = race

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.race.model = kwargs["model"]
        self.race.meter.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.race.meter.step()


class ClockedNarrator(Narrator):
    """Our own callback with the meter in it, and without checkpoints (they have their own bench).

    The step ends with its metric: what our events cost is part of the measured time.
    """

    race: Race

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self.race.model = kwargs["model"]
        self.race.meter.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        control.should_save = False

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        super().on_log(args, state, control, logs, **kwargs)
        if "loss" in logs:
            self.race.meter.step()


class NoCheckpoints(Saver):
    """Stands where the saver is: checkpoints are measured in whole jobs, not here."""

    def __init__(self) -> None:
        """No storage, no thread."""

    def save(self, *checkpoint: Any) -> None:
        raise RuntimeError("this bench does not save")

    lost = False

    def behind(self, needed: int) -> bool:
        return False


def stood_still(error: TrainerError) -> None:
    """A bench that hangs is for the person who started it."""
    print(error, flush=True)


def ours(race: Race) -> None:
    """The pod's loop; events go to a folder of their own and are never uploaded."""
    race.limit = activation_limit(race.base)
    reporter = Reporter(RunFolder(race.scratch.as_uri(), "bench"), 1, {})
    schedule = Schedule(10**9, 1e9, 10**9, 0)
    epoch = race.spec.steps_per_epoch
    supervised = [sum(race.samples[at].supervised for at in step) for step in race.plan]
    narrator = ClockedNarrator(
        reporter, schedule, race.held_out, frozenset(), epoch, None,
        Course(supervised, epoch), StallWatch(stood_still),
    )  # fmt: skip
    narrator.race = race
    work = Work(race.spec, race.samples, race.plan, race.scratch, None, lambda: None, race.limit)
    train(work, race.base, narrator, NoCheckpoints())


def bare(race: Race) -> None:
    """No trainer at all: what a careful person would write for these batches."""
    values = race.spec.values
    race.limit = activation_limit(race.base)
    race.model = model = get_peft_model(race.base.model, lora_config(race.spec))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=values.learning_rate, weight_decay=0.0)
    warm = math.ceil(len(race.plan) * race.spec.warmup_ratio)
    schedule = get_scheduler(race.spec.scheduler, optimizer, warm, len(race.plan))
    backbone, head = loading.parts(model)
    model.train()
    race.meter.start()
    for step in race.plan:
        chosen = [race.samples[position] for position in step]
        supervised = sum(sample.supervised for sample in chosen)
        for sample in chosen:
            recompute(model, len(sample.ids) > race.limit)
            hidden = backbone(input_ids=torch.tensor([sample.ids]), use_cache=False)
            states, targets = loss.labelled(hidden.last_hidden_state, torch.tensor([sample.labels]))
            nll = torch.nn.functional.cross_entropy(head(states), targets, reduction="sum")
            torch.autograd.backward(nll / supervised)
        torch.nn.utils.clip_grad_norm_(trained, race.spec.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        race.meter.step()


def recompute(model: torch.nn.Module, on: bool) -> None:
    module: Any
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = on


def trl(race: Race) -> None:
    """SFTTrainer with its own defaults (checkpointing, metrics, logging every 10 steps).

    Set by us: fp32 (its bf16 is emulated on this CPU, five times slower), no truncation (its
    1,024 tokens would lose targets), and the same optimizer settings as ours.
    """
    spec, per_step = race.spec, race.spec.conversations_per_step
    order = [position for step in race.plan for position in step]
    rows = [
        {"input_ids": list(race.samples[at].ids), "labels": list(race.samples[at].labels)}
        for at in order[: len(race.samples)]
    ]
    settings = SFTConfig(
        output_dir=str(race.scratch),
        num_train_epochs=spec.values.epochs,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=per_step,
        learning_rate=spec.values.learning_rate,
        lr_scheduler_type=spec.scheduler,
        warmup_steps=math.ceil(len(race.plan) * spec.warmup_ratio),
        max_grad_norm=spec.max_grad_norm,
        weight_decay=0.0,
        seed=spec.values.seed,
        bf16=False,
        use_cpu=True,
        max_length=None,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=race.base.model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(race.base.model.config._name_or_path),
        peft_config=lora_config(spec),
        callbacks=[Clocked(race)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def llamafactory(race: Race) -> None:
    """LLaMA-Factory, in its own process and environment; its adapter comes back."""
    ran = peer.train(race.material, race.spec, len(race.plan), race.scratch)
    race.meter.steps = ran.steps
    race.peak_mb = ran.peak_mb
    race.model = PeftModel.from_pretrained(race.base.model, str(ran.adapter))


LOOPS: dict[str, Callable[[Race], None]] = {
    "ours": ours,
    "bare": bare,
    "trl-conversation": trl,
    "trl-pair": trl,
    "llamafactory": llamafactory,
}
