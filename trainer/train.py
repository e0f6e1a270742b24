"""Train the adapter to the last step: the settings of TRL's trainer, and the run itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, PrinterCallback
from trl import SFTConfig

from brightrun.jobs import JobSpec
from trainer import loading, memory, optimizers
from trainer.choices import Choices
from trainer.control import StopRequested
from trainer.labelled import LabelledTrainer
from trainer.narrator import Narrator
from trainer.saver import Saver
from trainer.work import Work


def train(work: Work, base: loading.Base, narrator: Narrator, saver: Saver) -> Any:
    """Train to the last step, from `work.resume` on; the model with its trained adapter.

    Raises StopRequested after saving when a stop was noticed.
    """
    optimizer = optimizers.settled(base.choices.optimizer, work.resume)
    settings = sft_config(work.spec, len(work.plan), work.scratch, base.choices, optimizer.value)
    folder = base.model.config._name_or_path
    rows = [{"input_ids": list(s.ids), "labels": list(s.labels)} for s in work.samples]
    trainer = LabelledTrainer(
        work,
        base,
        narrator,
        saver,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder, trust_remote_code=False),
        data_collator=lambda rows: rows,
        peft_config=lora_config(work.spec),
    )
    trainer.remove_callback(PrinterCallback)
    narrator.attach(trainer)
    try:
        with narrator.stall.watching():
            trainer.train(resume_from_checkpoint=str(work.resume) if work.resume else None)
    except StopRequested:
        unsaved = trainer.state.global_step > narrator.schedule.last_step or saver.lost
        if unsaved and narrator.course.may_save:
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


def sft_config(
    spec: JobSpec, total_steps: int, scratch: Path, made: Choices, optimizer: str
) -> SFTConfig:
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
        optim=optimizer,
        weight_decay=0.0,
        seed=spec.values.seed,
        data_seed=spec.values.seed,
        gradient_checkpointing=memory.may_recompute(made, spec.values),
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
