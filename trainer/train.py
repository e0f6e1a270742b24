"""Train the adapter: TRL's SFTTrainer with our order of samples and a loss on labelled tokens.

One item of the data loader is one optimizer step (a list of sequences): the last, short step of
an epoch stays whole, the loss is weighted by tokens over the step, and a resume skips whole steps
of one flat plan, so that it is exact in every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, PrinterCallback, Trainer
from trl import SFTConfig, SFTTrainer

from brightrun.errors import TrainerError
from brightrun.jobs import JobSpec
from trainer import cpu, data, hardware, loading, loss
from trainer.control import StopRequested
from trainer.narrator import Narrator


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained: the samples, the steps over them, and where to go on from."""

    spec: JobSpec
    samples: list[data.Sample]
    plan: list[list[int]]
    scratch: Path
    resume: Path | None
    check: Callable[[], None]
    activation_tokens: int | None = None


class LabelledTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that scores labelled tokens only and takes one whole step per item."""

    def __init__(
        self, work: Work, base: loading.Base, narrator: Narrator, publish: Callable[..., None],
        **settings: Any,
    ) -> None:  # fmt: skip
        self.work = work
        self.base = base
        self.publish = publish
        self.rng = rng_state()
        super().__init__(model=base.model, callbacks=[narrator], **settings)
        # TRL casts the adapter of a quantised model to bf16, a reload makes it fp32: only with
        # fp32 from the start a resumed run equals the unbroken one.
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        if base.model.device.type == "cpu" and base.dtype == torch.float32:
            cpu.fuse_lora(self.model)
        # Checkpoints need no copy of the tokenizer.
        self.processing_class = None
        given = work.activation_tokens
        self.checkpointed_above = activation_limit(base) if given is None else given

    def get_train_dataloader(self) -> Any:
        """One batch per optimizer step, in the order of the plan."""
        loader: Any = DataLoader(
            self.work.plan,  # type: ignore[arg-type]
            batch_size=1,
            shuffle=False,
            collate_fn=self._collate,
        )
        return self.accelerator.prepare(loader)

    def _collate(self, items: list[list[int]]) -> dict[str, Any]:
        chosen = [self.work.samples[position] for position in items[0]]
        return {
            "sample_ids": [sample.sample_id for sample in chosen],
            "tokens": sum(len(sample.ids) for sample in chosen),
            "supervised": sum(sample.supervised for sample in chosen),
            "micro": [
                {"ids": torch.tensor([sample.ids]), "labels": torch.tensor([sample.labels])}
                for sample in chosen
            ],
        }

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Token-weighted mean loss (nats) of the step; its gradient is accumulated."""
        model.train()
        self.last = inputs
        total = torch.zeros((), dtype=torch.float32, device=self.args.device)
        for micro in inputs["micro"]:
            self.work.check()
            self._checkpoint_activations(micro["ids"].shape[1])
            hidden, head = self.hidden(micro["ids"])
            states, targets = loss.labelled(hidden, micro["labels"])
            part = loss.summed_nll(states, head, targets) / inputs["supervised"]
            self.accelerator.backward(part)
            total += part.detach()
        if not torch.isfinite(total):
            raise TrainerError(
                f"the loss of step {self.state.global_step + 1} is {total.item()}",
                cause="the learning rate is too high for this model, or a row is broken; rows of "
                f"this step: {', '.join(inputs['sample_ids'])}",
                fix=f"halve the learning rate: --set learning_rate={self.args.learning_rate / 2:g}",
                adjustment={"learning_rate": self.args.learning_rate / 2},
            )
        return total

    def hidden(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.nn.Module]:
        """Last hidden states [b,t,h] of [b,t] ids, and the LM head."""
        backbone, head = loading.parts(self.model)
        with loading.computing(self.model, self.base.dtype):
            return backbone(input_ids=ids, use_cache=False).last_hidden_state, head

    def validation_loss(self, held_out: list[data.Sample]) -> float:
        """Token-weighted mean over `held_out` in nats; training goes on as if it had not run."""
        rng = rng_state()
        self.model.eval()
        nats, tokens = 0.0, 0
        with torch.no_grad():
            for sample in held_out:
                self.work.check()
                device = self.args.device
                hidden, head = self.hidden(torch.tensor([sample.ids], device=device))
                labels = torch.tensor([sample.labels], device=device)
                states, targets = loss.labelled(hidden, labels)
                nats += loss.token_nll(states, head, targets).double().sum().item()
                tokens += len(targets)
        self.model.train()
        restore_rng(rng)
        return nats / tokens

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: its estimate needs the keys of a padded batch."""
        return 0

    def step_finished(self) -> None:
        """Remember the random state between this step and the next: `save_now` needs it."""
        self.rng = rng_state()

    def save_now(self) -> None:
        """Save the state after the last finished step, also from the middle of the next."""
        # Weights and optimizer change only at the end of a step; random numbers go on inside it.
        restore_rng(self.rng)
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Past TRL's own method, which writes a model card first.
        Trainer._save_checkpoint(self, model, trial)
        step = self.state.global_step
        self.publish(Path(self.args.output_dir) / f"checkpoint-{step}", step)

    def _checkpoint_activations(self, tokens: int) -> None:
        if self.args.gradient_checkpointing:
            on = tokens > self.checkpointed_above
            for module in self.model.modules():
                if hasattr(module, "gradient_checkpointing"):
                    module.gradient_checkpointing = on


def rng_state() -> list[torch.Tensor]:
    """State of the generators that dropout draws from: CPU, then every GPU."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def restore_rng(state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0])
    torch.cuda.set_rng_state_all(state[1:])


def activation_limit(base: loading.Base) -> int:
    """Tokens up to which a sequence keeps its activations although checkpointing is allowed.

    The gradients are bit for bit the same either way: only time and memory differ.
    """
    if torch.cuda.is_available():
        return 0
    config = base.model.config
    per_token = cpu.activation_bytes_per_token(
        config.hidden_size, config.intermediate_size, config.num_hidden_layers
    )
    return cpu.tokens_kept(per_token, hardware.available_memory_mb() * 1_000_000)


def train(work: Work, base: loading.Base, narrator: Narrator, publish: Callable[..., None]) -> Any:
    """Train to the last step, from `work.resume` on; the model with its trained adapter.

    Raises StopRequested after saving when a stop was noticed.
    """
    settings = sft_config(work.spec, len(work.plan), work.scratch)
    folder = base.model.config._name_or_path
    rows = [{"input_ids": list(s.ids), "labels": list(s.labels)} for s in work.samples]
    trainer = LabelledTrainer(
        work,
        base,
        narrator,
        publish,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder, trust_remote_code=False),
        data_collator=lambda rows: rows,
        peft_config=lora_config(work.spec),
    )
    trainer.remove_callback(PrinterCallback)
    narrator.attach(trainer)
    try:
        trainer.train(resume_from_checkpoint=str(work.resume) if work.resume else None)
    except StopRequested:
        if trainer.state.global_step > narrator.schedule.last_step:
            trainer.save_now()
        raise
    return trainer.model


def lora_config(spec: JobSpec) -> LoraConfig:
    """The adapter of the spec."""
    return LoraConfig(
        r=spec.values.lora_r,
        lora_alpha=spec.values.lora_alpha,
        lora_dropout=spec.values.lora_dropout,
        target_modules=list(spec.target_modules),
        task_type="CAUSAL_LM",
        bias="none",
    )


def sft_config(spec: JobSpec, total_steps: int, scratch: Path) -> SFTConfig:
    """The HF side of the spec. Saving, logging and evaluation are decided by our callback."""
    cuda = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(scratch),
        max_steps=total_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=spec.values.learning_rate,
        lr_scheduler_type=spec.scheduler,
        warmup_steps=math.ceil(total_steps * spec.warmup_ratio),
        max_grad_norm=spec.max_grad_norm,
        optim=spec.optimizer,
        weight_decay=0.0,
        seed=spec.values.seed,
        data_seed=spec.values.seed,
        gradient_checkpointing=spec.values.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=False,
        fp16=False,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        use_cpu=not cuda,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
