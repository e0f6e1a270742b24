"""What a person wishes (JobRequest), what is run (JobSpec), and the presets between them.

JobRequest is the Prefect form and the command line. JobSpec is frozen, fully resolved and
hashed; it holds only what decides the result, so an equal hash means an equal job.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from brightrun.errors import ConfigurationError


class Preset(StrEnum):
    conservative = "conservative"
    balanced = "balanced"
    aggressive = "aggressive"
    demo = "demo"


class Market(StrEnum):
    spot = "spot"
    on_demand = "on_demand"


class Confirm(StrEnum):
    """When the run stops at the gate and waits for a person."""

    always = "always"
    above_limits = "above_limits"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hyperparameters(Frozen):
    """Every field that `--set` may change; the defaults are the preset `balanced`."""

    epochs: int = Field(3, ge=1, le=20, description="Passes over the training data, 1-20")
    learning_rate: float = Field(2e-4, gt=0, le=1e-2, description="Peak, above 0 up to 0.01")
    lora_r: int = Field(16, ge=1, le=256, description="LoRA rank, 1-256")
    lora_alpha: int = Field(32, ge=1, le=512, description="LoRA scaling numerator, 1-512")
    lora_dropout: float = Field(0.05, ge=0, le=0.5, description="0-0.5")
    pairs_per_step: int = Field(
        16, ge=1, le=512, description="Supervised pairs per optimizer step (global batch), 1-512"
    )
    max_length: int = Field(
        8192, ge=128, le=131072, description="Longest sequence in tokens, 128-131072"
    )
    sequence: Literal["conversation", "pair"] = Field(
        "conversation", description="One sequence per conversation, or per pair (reference)"
    )
    packing: bool = Field(False, description="Needs a varlen attention kernel on the pod")
    precision: Literal["nf4", "bf16", "fp32"] = Field("nf4", description="Of the frozen base")
    seed: int = Field(42, ge=0, le=2**31 - 1, description="Split, order, dropout, sampling")
    validation_share: float = Field(
        0.15, gt=0, lt=0.5, description="Share of conversations held out, above 0, below 0.5"
    )
    checkpoint_steps: int = Field(100, ge=1, description="Save at least every N steps")
    checkpoint_minutes: float = Field(10.0, gt=0, le=120, description="... or N minutes")
    eval_points: int = Field(0, ge=0, le=100, description="Validation losses during training")
    gradient_checkpointing: bool = Field(True, description="Less memory, about 30 % more time")
    scenarios: int = Field(50, ge=1, le=1000, description="Scenarios answered by each model")
    questions: int = Field(100, ge=1, le=10000, description="Knowledge questions")
    rotations: int = Field(4, ge=1, le=4, description="Cyclic orders of a question's options, 1-4")
    max_new_tokens: int = Field(512, ge=8, le=4096, description="Length limit of an answer")
    passes: int = Field(1, ge=1, le=10, description="Answers per scenario and model")


SETTABLE: tuple[str, ...] = tuple(Hyperparameters.model_fields)


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
        pairs_per_step=2,
        max_length=4096,
        validation_share=0.2,
        scenarios=12,
        max_new_tokens=96,
        questions=25,
        rotations=1,
        eval_points=4,
    ),
}


def _preset_help() -> str:
    """What the form says about the presets: expected result and risk."""
    return ". ".join(
        f"{name}: {info.summary}; expect {info.expected}; risk {info.risk}"
        for name, info in PRESETS.items()
    )


def preset_of(name: str) -> PresetInfo:
    """The preset called `name`; ConfigurationError names the ones there are."""
    try:
        return PRESETS[Preset(name)]
    except ValueError:
        raise ConfigurationError(
            f"there is no preset {name!r}", fix=f"use one of: {', '.join(Preset)}"
        ) from None


def apply_overrides(base: Hyperparameters, overrides: dict[str, Any]) -> Hyperparameters:
    """`base` with `overrides` (strings are parsed); ConfigurationError lists every bad field."""
    unknown = sorted(set(overrides) - set(SETTABLE))
    if unknown:
        raise ConfigurationError(
            f"cannot set {', '.join(unknown)}", fix=f"settable: {', '.join(SETTABLE)}"
        )
    try:
        return Hyperparameters.model_validate({**base.model_dump(), **overrides})
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(found, fix="see `brightrun train --help` for ranges") from None


def _optional(name: str) -> tuple[Any, Any]:
    """The same field, empty by default: empty means the preset's value."""
    field = Hyperparameters.model_fields[name]
    words = f"{field.description}. Empty: the preset's value"
    kind: Any = field.annotation
    bounded: Any = Annotated[(kind, *field.metadata)] if field.metadata else kind
    return (bounded | None, Field(None, title=name.replace("_", " "), description=words))


Overrides = create_model(
    "Overrides", __base__=Frozen, **{name: _optional(name) for name in SETTABLE}
)  # type: ignore[call-overload]


class JobRequest(Frozen):
    """A person's wish, as typed into the Prefect form or on the command line."""

    training_file: str = Field(
        title="Training file",
        min_length=1,
        max_length=4096,
        description="A name from `brightrun files list`, or a path that the worker can read",
    )
    preset: Preset = Field(Preset.balanced, title="Preset", description=_preset_help())
    market: Market = Field(
        Market.spot,
        title="Market",
        description="spot = cheaper, may be interrupted, where it is offered; else on_demand",
    )
    name: str = Field(
        "", title="Name", max_length=120, description="Of this run, up to 120 letters"
    )
    client: str = Field("", title="Client", max_length=120, description="Who it is made for")
    requested_by: str = Field("", title="Requested by", max_length=120, description="Your name")
    notes: str = Field("", title="Notes", max_length=4000, description="Why this run, for later")
    confirm: Confirm = Field(
        Confirm.always,
        title="Confirm",
        description="always = stop at the gate and show the estimate; "
        "above_limits = stop only when an approval is needed (for scheduled runs)",
    )
    provider: Literal["local", "runpod"] = Field(
        "local", title="Provider", description="Who rents out the machine"
    )
    gpu: str = Field("", title="GPU", max_length=60, description="Empty: the provider's default")
    base_model: str = Field(
        "",
        title="Base model",
        max_length=500,
        description="demo, tiny, a folder, a .gguf or a hub id. "
        "Empty: demo on local, Llama 3 70B on runpod",
    )
    overrides: Overrides = Field(
        default_factory=Overrides,
        title="Optional overrides",
        description="Empty fields keep the preset's values",
    )
    quality_min: float | None = Field(
        None, title="Minimum quality", ge=0, le=10, description="Drop pairs below it. Empty: none"
    )
    repeat: bool = Field(
        False, title="Pay again", description="Run even if an identical job already ran"
    )
    interrupt_at: tuple[int, ...] = Field(
        (),
        title="Interrupt at",
        description="Test of recovery: attempt k's local pod kills itself after the k-th step",
    )

    @property
    def values(self) -> Hyperparameters:
        """The preset with the overrides laid over it."""
        changes = self.overrides.model_dump(exclude_none=True)
        return apply_overrides(preset_of(self.preset).values, changes)


class BaseModelRef(Frozen):
    """Which base model: alias or path or hub id, pinned by revision or content hash."""

    name: str
    revision: str = ""
    sha256: str = ""
    context: int = Field(ge=128)
    template: str = Field(description="Chat template family: llama3 | chatml")
    meaningful: bool = Field(True, description="False for `tiny`: its numbers mean nothing")


class DataRef(Frozen):
    """The snapshot that is trained on; sha256 are of the written jsonl files."""

    name: str
    source_sha256: str
    train_sha256: str
    validation_sha256: str
    train_conversations: int
    validation_conversations: int
    supervised_pairs: int = Field(description="In the training part")
    train_tokens: int = Field(description="Per epoch, template included")
    supervised_tokens: int = Field(description="Per epoch")


class JobSpec(Frozen):
    """All that decides the result, nothing else."""

    base_model: BaseModelRef
    data: DataRef
    values: Hyperparameters
    plan_sha256: str = Field(description="Hash of plan/plan.json: what will be measured")
    threads: int = Field(ge=1, description="CPU threads; part of bit-exactness on CPU")
    target_modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    warmup_ratio: float = 0.03
    max_grad_norm: float = 0.3
    scheduler: str = "cosine"
    optimizer: str = "paged_adamw_32bit"

    def spec_hash(self) -> str:
        """sha256 (hex) of the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return self.values.epochs * self.steps_per_epoch

    @property
    def conversations_per_step(self) -> int:
        """Whole sequences per optimizer step that hold about pairs_per_step supervised pairs."""
        if self.values.sequence == "pair":
            return self.values.pairs_per_step
        pairs_each = self.data.supervised_pairs / max(1, self.data.train_conversations)
        return max(1, round(self.values.pairs_per_step / max(1.0, pairs_each)))

    @property
    def steps_per_epoch(self) -> int:
        rows = (
            self.data.supervised_pairs
            if self.values.sequence == "pair"
            else self.data.train_conversations
        )
        return max(1, -(-rows // self.conversations_per_step))
