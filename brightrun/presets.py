"""Presets and every value that `--set` may change. Defaults stand here and nowhere else."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, ValidationError

from brightrun.errors import UsageError
from brightrun.frozen import Frozen

SHORT_ANSWER = 128  # tokens


class Preset(StrEnum):
    conservative = "conservative"
    balanced = "balanced"
    aggressive = "aggressive"
    demo = "demo"


class Hyperparameters(Frozen):
    """Every field that `--set` may change; the defaults are the preset `balanced`."""

    epochs: int = Field(3, ge=1, le=20, description="Passes over the training data, 1-20")
    learning_rate: float = Field(
        2e-4, gt=0, le=1e-2, description="Size of the steps at their peak, above 0 up to 0.01"
    )
    lora_r: int = Field(
        16, ge=1, le=256, description="LoRA rank, 1-256: higher can learn more, and forget more"
    )
    lora_alpha: int = Field(
        32, ge=1, le=512, description="LoRA strength, 1-512; usually twice lora r"
    )
    lora_dropout: float = Field(
        0.05, ge=0, le=0.5, description="Share of adapter inputs dropped against memorising, 0-0.5"
    )
    pairs_per_step: int = Field(
        16, ge=1, le=512, description="Supervised pairs per optimizer step (global batch), 1-512"
    )
    max_length: int = Field(
        8192, ge=128, le=131072, description="Longest sequence in tokens, 128-131072"
    )
    too_long: Literal["refuse", "split"] = Field(
        "refuse",
        description="Conversations above max length: refuse = stop with their list; "
        "split = cut them at turn boundaries",
    )
    sequence: Literal["conversation", "pair"] = Field(
        "conversation",
        description="What one training sequence is: conversation = a whole one; "
        "pair = one answer with what came before it (slower, for comparison)",
    )
    packing: bool | None = Field(
        None,
        description="Whether several short conversations share a row. On = yes, the pod needs a "
        "GPU with a varlen attention kernel. Off = one per row. Left out = On on such a GPU",
    )
    precision: Literal["nf4", "bf16", "fp32"] = Field(
        "nf4",
        description="How the frozen base model is held: nf4 = 4 bits, least memory; bf16 = 16 "
        "bits; fp32 = 32 bits, most memory",
    )
    seed: int = Field(
        42,
        ge=0,
        le=2**31 - 1,
        description="Decides split, order, dropout and sampling, 0-2147483647",
    )
    validation_share: float = Field(
        0.15,
        gt=0,
        lt=0.5,
        description="Share of conversations held out to measure on, above 0, below 0.5",
    )
    checkpoint_steps: int = Field(
        100,
        ge=1,
        description="Checkpoints so often that a kill costs at most so many steps, 1 or more",
    )
    checkpoint_minutes: float = Field(
        10.0,
        gt=0,
        le=120,
        description="Checkpoints so often that a kill costs at most so many minutes of training, "
        "above 0 up to 120",
    )
    eval_points: int = Field(
        10, ge=0, le=100, description="How often the held-out loss is measured in training, 0-100"
    )
    gradient_checkpointing: bool = Field(
        True, description="On = less memory for about 30 % more time. Off = faster, more memory"
    )
    scenarios: int = Field(
        50, ge=1, le=1000, description="Test scenarios that each model answers, 1-1000"
    )
    questions: int = Field(
        100, ge=1, le=10000, description="Knowledge questions asked before and after, 1-10000"
    )
    rotations: int = Field(
        4, ge=1, le=4, description="Orders in which a question's options are shown, 1-4"
    )
    max_new_tokens: int = Field(
        512, ge=8, le=4096, description="Length limit of an answer in tokens, 8-4096"
    )
    passes: int = Field(
        3,
        ge=1,
        le=10,
        description="Answers per scenario and model, 1-10: 1 = greedy, more = drawn by seed",
    )

    @property
    def quick(self) -> bool:
        """A quick look asks in fewer orders than there are: it reads less of the neutral text, no
        option as a whole answer, and no training conversation again."""
        return self.rotations < 4

    @property
    def golden_prompts(self) -> int:
        """Answers that the delivered script makes at the end, for the package to be checked by.

        One where a quick look writes long ones: two more of 512 tokens take 70B three minutes.
        """
        return 1 if self.quick and self.max_new_tokens > SHORT_ANSWER else min(3, self.scenarios)


SETTABLE: tuple[str, ...] = tuple(Hyperparameters.model_fields)

# Laid over every preset by a smoke test: what only takes time is cut, what takes memory stays.
SMOKE: dict[str, Any] = {
    "epochs": 1,
    "pairs_per_step": 1,
    "sequence": "conversation",
    "checkpoint_steps": 1,
    "eval_points": 1,
    "scenarios": 2,
    "questions": 2,
    "rotations": 1,
    "passes": 1,
    "max_new_tokens": 32,
}


class PresetInfo(Frozen):
    """A preset with the words a person chooses it by."""

    values: Hyperparameters
    summary: str
    risk: str
    expected: str
    users_hours: str = ""
    users_spot_cost: str = ""


def _preset(summary: str, risk: str, expected: str, hours: str, cost: str, **v: Any) -> PresetInfo:
    return PresetInfo(
        values=Hyperparameters(**v),
        summary=summary,
        risk=risk,
        expected=expected,
        users_hours=hours,
        users_spot_cost=cost,
    )


PRESETS: dict[Preset, PresetInfo] = {
    Preset.conservative: _preset(
        "Small adapter, gentle steps: first run on a new file",
        "low: may change too little",
        "a visible voice, least forgetting",
        "8-10 h",
        "$25-30",
        lora_r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        learning_rate=1e-4,
        epochs=2,
    ),
    Preset.balanced: _preset(
        "The default for a client delivery",
        "medium: watch knowledge retention",
        "the sold targets are set for this preset",
        "12-15 h",
        "$50-60",
    ),
    Preset.aggressive: _preset(
        "Large adapter, long training: when balanced changed too little",
        "high: memorises small files, forgets more",
        "the strongest voice",
        "18-20 h",
        "$80-100",
        lora_r=32,
        lora_alpha=64,
        lora_dropout=0.10,
        learning_rate=3e-4,
        epochs=4,
    ),
    Preset.demo: _preset(
        "Ten minutes on a laptop: shows every stage, proves little",
        "none: its numbers come from a 135M model and a small sample",
        "a finished job, small measured changes",
        "",
        "",
        epochs=2,
        lora_dropout=0.0,
        pairs_per_step=2,
        max_length=4096,
        validation_share=0.2,
        scenarios=12,
        max_new_tokens=96,
        questions=25,
        rotations=1,
        passes=1,
        eval_points=1,
    ),
}


def preset_help() -> str:
    """What the form says about the presets: a Markdown list with expected result and risk."""
    return "\n\n".join(  # Prefect's form shows Markdown, but joins single lines
        f"- **{name}**: {info.summary}. Expected: {info.expected}. Risk: {info.risk}"
        for name, info in PRESETS.items()
    )


def preset_of(name: str) -> PresetInfo:
    """The preset called `name`; UsageError names the ones there are."""
    try:
        return PRESETS[Preset(name)]
    except ValueError:
        raise UsageError(
            f"there is no preset {name!r}", fix=f"use one of: {', '.join(Preset)}"
        ) from None


def apply_overrides(base: Hyperparameters, overrides: dict[str, Any]) -> Hyperparameters:
    """`base` with `overrides` (strings are parsed); UsageError lists every bad field."""
    unknown = sorted(set(overrides) - set(SETTABLE))
    if unknown:
        raise UsageError(f"cannot set {', '.join(unknown)}", fix=f"settable: {', '.join(SETTABLE)}")
    try:
        return Hyperparameters.model_validate({**base.model_dump(), **overrides})
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        wrong = dict.fromkeys(str(e["loc"][0]) for e in error.errors() if e["loc"])
        ranges = (f"{name}: {Hyperparameters.model_fields[name].description}" for name in wrong)
        raise UsageError(found, fix="; ".join(ranges)) from None
