"""One optimizer step: TRL's SFTTrainer with our order of samples and a loss on labelled tokens.

One item of the data loader is one optimizer step (positions of its sequences): the last, short
step of an epoch stays whole, the loss is weighted by tokens over the step, and a resume skips
whole steps of one flat plan, so that it is exact in every epoch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from trl import SFTTrainer

from brightrun import gpus
from brightrun.errors import OutOfMemory
from brightrun.physics import kept_on_cpu, training_flops
from trainer import (
    batches,
    cpu,
    data,
    dropout,
    failures,
    hardware,
    libraries,
    loading,
    loss,
    memory,
    optimizers,
    snapshot,
)
from trainer.batches import MicroBatch, Step
from trainer.calibrate import Size
from trainer.distributed import LostStep, NoFixedOrder
from trainer.memory import Fit
from trainer.narrator import Narrator
from trainer.retrying import Free, free_memory, once_more, until_it_fits
from trainer.saver import Saver
from trainer.timing import Stopwatch, micro_steps
from trainer.work import Work


class LabelledTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that scores labelled tokens only and takes one whole step per item."""

    def __init__(
        self, work: Work, base: loading.Base, narrator: Narrator, saver: Saver,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.work = work
        self.base = base
        self.narrator = narrator
        self.saver = saver
        super().__init__(model=base.model, callbacks=[narrator], **settings)
        # TRL casts the adapter of a quantised model to bf16, a reload makes it fp32: only with
        # fp32 from the start a resumed run equals the unbroken one.
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.now = dropout.install(self.model, work.spec.values.seed)
        if base.model.device.type == "cpu" and base.dtype == torch.float32:
            cpu.fuse_lora(self.model)
        # Checkpoints need no copy of the tokenizer.
        self.processing_class = None
        self.fit = Fit(
            work.cut, work.activation_tokens if self.args.gradient_checkpointing else None
        )
        self.stopwatch = Stopwatch(self.args.device.type)
        self.in_fixed_order = work.in_fixed_order

    def get_train_dataloader(self) -> Any:
        """One item per optimizer step, in the order of the plan."""
        loader: Any = DataLoader(
            self.work.plan,  # type: ignore[arg-type]
            batch_size=1,
            shuffle=False,
            collate_fn=lambda items: {"step": items[0]},
        )
        return self.accelerator.prepare(loader)

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Token-weighted mean loss (nats) of the step; its gradient is accumulated.

        Out of memory: the same step again in smaller pieces.
        OutOfMemory when nothing smaller is left.
        """
        model.train()
        samples = [self.work.samples[position] for position in inputs["step"]]
        try:
            return until_it_fits(
                lambda: self._accumulate(samples), lambda failure: self._make_room(samples, failure)
            )
        except LostStep as error:
            longest = max(len(sample.ids) for sample in samples)
            raise memory.without_part(error, self.fit, longest, self.work.spec.values) from error
        except RuntimeError as error:
            told = isinstance(error, NoFixedOrder) or failures.has_no_fixed_order(error)
            if not (self.in_fixed_order and told):
                raise
            self.in_fixed_order = False
            self.narrator.in_any_order(failures.first_line(error))
        self.model.zero_grad(set_to_none=True)
        return self.training_step(model, inputs, num_items_in_batch)

    def _accumulate(self, samples: list[data.Sample]) -> torch.Tensor:
        self.stopwatch.start()
        micro = batches.cut(samples, self.fit.cut)
        group = self.work.group
        # Scored, not planned: what the micro-batches hold is what is trained on.
        scored = sum(len(batch.targets) for batch in micro)
        turns = self.work.pace.mine([batch.tokens for batch in micro])
        step = Step(samples, micro, scored, [number for number in turns if number is not None])
        total = torch.zeros((), dtype=torch.float32, device=self.args.device)
        self.stopwatch.mark("data")

        def micro_step(number: int) -> None:
            total.add_(self._micro_step(number, micro[number], scored))

        with group.together():
            self.work.pace.through(turns, micro_step, training=True)
        group.add_up_gradients(self.model, total)
        self.last = step
        return total

    def _micro_step(self, number: int, batch: MicroBatch, scored: int) -> torch.Tensor:
        """Its part of the step's loss; its gradient is accumulated."""
        self.safe_point()
        self.work.allocate("micro-step", batch)
        self._checkpoint_activations(batch.tokens)
        # What a base model may draw beside the adapter: not by which process computes it, or when.
        step = self.state.global_step
        torch.manual_seed(dropout.seed(self.work.spec.values.seed, step, number))
        # Forward too: what is computed twice must meet the same attention kernel.
        with self.now.computing(step, batch), libraries.in_fixed_order(self.in_fixed_order):
            part = self._summed_nll(batch.to(self.args.device)) / scored
            self.stopwatch.mark("forward")
            self.accelerator.backward(part)
        self.stopwatch.mark("backward")
        return part.detach()

    def _summed_nll(self, batch: MicroBatch) -> torch.Tensor:
        hidden, head = self.hidden(batch.ids, batch.positions)
        states = hidden.flatten(0, 1).index_select(0, batch.places)
        return loss.summed_nll(states, head, batch.targets)

    def _make_room(self, samples: list[data.Sample], failure: str) -> None:
        """Free what the failed try left, and choose a smaller one; OutOfMemory if there is none."""
        self.model.zero_grad(set_to_none=True)
        free = free_memory()
        longest = max(len(sample.ids) for sample in samples)
        before, after = self.fit, self.fit.smaller(longest)
        step = self.state.global_step + 1
        if after is None:
            what = f"step {step} does not fit at micro-batch 1: its longest sequence"
            raise self.too_large(what, samples, failure, free)
        self.fit = after
        self.narrator.out_of_memory(step, before, after, failure)

    def too_large(
        self, what: str, samples: list[data.Sample], failure: str, free: Free
    ) -> OutOfMemory:
        """The error when one sequence at a time is too much; `what` ends before "has N tokens"."""
        longest = max(len(sample.ids) for sample in samples)
        happened = f"{what} has {longest} tokens"
        return memory.hopeless(happened, self.work.spec.values, failure, free)

    def create_optimizer(self, model: Any = None) -> Any:
        """The library's own, whose updates survive an out of memory."""
        return optimizers.guarded(super().create_optimizer(model), self._update)

    def _update(self, optimizer: Any, once: Callable[[], Any]) -> None:
        """The optimizer's step, in all processes or in none."""
        made = optimizers.Update(optimizer, once, self.state.global_step)

        def update() -> None:
            with self.work.group.together():
                self.work.allocate("update", optimizer)
                made.run()

        step, values = self.state.global_step + 1, self.work.spec.values
        kind = self.base.choices.optimizer.value
        once_more(
            update,
            lambda failure: self.narrator.tried_again(f"the update of step {step}", failure),
            lambda failure, free: memory.update_too_large(step, kind, values, failure, free),
            made.may_go_on,
        )

    def safe_point(self) -> None:
        """A sign of life; raises when training must not go on."""
        self.narrator.stall.alive()
        self.work.check()

    def hidden(
        self, ids: torch.Tensor, positions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.nn.Module]:
        """Last hidden states [b,t,h] of [b,t] ids, and the LM head."""
        backbone, head = loading.parts(self.model)
        with loading.computing(self.model, self.base.dtype):
            found = backbone(input_ids=ids, position_ids=positions, use_cache=False)
            return found.last_hidden_state, head

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted here: its estimate needs the keys of a padded batch."""
        return 0

    def step_finished(self) -> None:
        """The optimizer has changed the weights."""
        self.stopwatch.mark("optimizer")

    def step_logged(self) -> list[tuple[str, float]]:
        """(part, seconds) of the last step, when its loss was read; tells its micro-steps."""
        spans = self.stopwatch.spans()
        if self.work.on_step is not None:
            done = [self.last.micro[number] for number in self.last.mine]
            sizes = [Size(batch.tokens, batch.squares) for batch in done]
            self.work.on_step(list(zip(sizes, micro_steps(spans), strict=True)), self.fit)
        return spans

    def mfu(self, seconds: float) -> float | None:
        """Share of the GPUs' peak in the last step: what the model needs, without padding and
        without what is computed twice (Chowdhery et al. 2022, B). None on a CPU."""
        if self.args.device.type != "cuda":
            return None
        flops = training_flops(self.base.profile, self.last.tokens, self.last.squares, False)
        return gpus.mfu(flops, seconds, torch.cuda.get_device_name(), self.work.group.size)

    def save_now(self) -> None:
        """Save the state after the last finished step, also from the middle of the next."""
        # Weights and optimizer change only at the end of a step, and dropout is a function of the
        # step: nothing that counts goes on inside one.
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        if not self.work.group.leads:
            self.narrator.schedule.saved(step)
            return
        local = Path(self.args.output_dir) / f"checkpoint-{step}"
        begun = time.monotonic()
        try:
            self._save_rng_state(str(local))
        except Exception as error:  # noqa: BLE001 full disks have many names
            self.saver.not_written(error, local, step)
            return
        taken, facts = snapshot.take(self), self.narrator.facts(step)
        self.narrator.schedule.saved(step)
        self.saver.save(local, step, facts, time.monotonic() - begun, taken.write)

    def wait_for_storage(self) -> None:
        """Before a step, all processes together: see `Saver.behind`."""
        needed = self.narrator.schedule.needed(self.state.global_step + 1, self.narrator.seconds)
        while self.work.group.tell(int(self.saver.behind(needed))):
            self.narrator.stall.alive()

    def _checkpoint_activations(self, tokens: int) -> None:
        if self.fit.kept is not None:
            on = tokens > self.fit.kept
            for module in self.model.modules():
                if hasattr(module, "gradient_checkpointing"):
                    module.gradient_checkpointing = on


def activation_limit(base: loading.Base) -> int:
    """Tokens up to which a sequence keeps its activations although checkpointing is allowed.

    The gradients are bit for bit the same either way: only time and memory differ. Where the choice
    was to compute nothing twice it is all of them, until an out of memory says otherwise.
    """
    if not base.choices.gradient_checkpointing.value:
        return sys.maxsize
    chosen = base.choices.activation_tokens.value
    if chosen is not None:
        return chosen
    return kept_on_cpu(base.profile, hardware.available_memory_mb() * 1e6)
