"""What a person wishes (JobRequest) and what is run (JobSpec).

JobRequest is the Prefect form and the command line. JobSpec is frozen, fully resolved and
hashed; it holds only what decides the result, so an equal hash means an equal job.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, create_model

from brightrun.frozen import Frozen
from brightrun.presets import (
    PRESETS,
    SETTABLE,
    SMOKE,
    Hyperparameters,
    Preset,
    PresetInfo,
    apply_overrides,
    preset_help,
    preset_of,
)
from brightrun.specs import BaseModelRef, DataRef, JobSpec

__all__ = [
    "PRESETS",
    "SETTABLE",
    "BaseModelRef",
    "Confirm",
    "DataRef",
    "Hyperparameters",
    "JobRequest",
    "JobSpec",
    "Market",
    "Overrides",
    "Preset",
    "PresetInfo",
    "apply_overrides",
    "preset_of",
]


class Market(StrEnum):
    spot = "spot"
    on_demand = "on_demand"


class Confirm(StrEnum):
    """When the run stops at the gate and waits for a person."""

    always = "always"
    above_limits = "above_limits"


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
        description="What is trained on: a name from `brightrun files list`, or a path that the "
        "worker can read, up to 4096 letters",
    )
    preset: Preset = Field(Preset.balanced, title="Preset", description=preset_help())
    market: Market = Field(
        Market.spot,
        title="Market",
        description="How the machine is rented: spot = cheaper, may be interrupted (and goes on by "
        "itself); on_demand = dearer, stays. Where spot is not offered on_demand is used",
    )
    name: str = Field(
        "",
        title="Name",
        max_length=120,
        description="What this run is called in lists and in the report, up to 120 letters. "
        "Empty: the file's name",
    )
    client: str = Field(
        "",
        title="Client",
        max_length=120,
        description="Who the adapter is made for; stands in the report, up to 120 letters",
    )
    requested_by: str = Field(
        "",
        title="Requested by",
        max_length=120,
        description="Your name; it is recorded as stated, up to 120 letters",
    )
    notes: str = Field(
        "",
        title="Notes",
        max_length=4000,
        description="Why this run, for whoever reads of it later, up to 4000 letters",
    )
    confirm: Confirm = Field(
        Confirm.always,
        title="Confirm",
        description="always = stop at the gate and show the estimate; "
        "above_limits = stop only when an approval is needed (for scheduled runs)",
    )
    needed_by: AwareDatetime | None = Field(
        None,
        title="Needed by",
        description="When the report must be there; the estimate says which market keeps it. "
        "Empty: the cheapest is recommended",
    )
    provider: Literal["local", "runpod"] = Field(
        "local",
        title="Provider",
        description="Who gives the machine: local = this one, at a notional price; runpod = a "
        "rented GPU (needs a key; never yet run on an account: docs/runpod.md)",
    )
    gpu: str = Field(
        "",
        title="GPU",
        max_length=60,
        description="Which GPU to rent: H100 80GB PCIe or H100 80GB SXM on runpod; up to 60 "
        "letters. Empty: the provider's default (local: cpu)",
    )
    base_model: str = Field(
        "",
        title="Base model",
        max_length=500,
        description="Which model learns: demo, tiny, a folder, a .gguf or a hub id, up to 500 "
        "letters. Empty: demo on local, Llama 3 70B on runpod",
    )
    template: str = Field(
        "",
        title="Template",
        max_length=120,
        description="A saved request (`brightrun template list`) that fills in every field left as "
        "it is here, up to 120 letters. Empty: none",
    )
    overrides: Overrides = Field(
        default_factory=Overrides,
        title="Optional overrides",
        description="Single values over the preset; empty fields keep the preset's values",
    )
    quality_min: float | None = Field(
        None,
        title="Minimum quality",
        ge=0,
        le=10,
        description="Leaves out pairs whose quality_score is below it, 0-10. Empty: keeps all",
    )
    scenarios_file: str = Field(
        "",
        title="Own scenarios",
        max_length=4096,
        description="Your own test scenarios instead of ours: JSON lines with scenario_id and "
        "client_message, up to 4096 letters. Empty: ours",
    )
    questions_file: str = Field(
        "",
        title="Own questions",
        max_length=4096,
        description="Your own knowledge questions instead of ours: JSON lines with question_id, "
        "question, four options and answer (0-3), up to 4096 letters. Empty: ours",
    )
    prompts_file: str = Field(
        "",
        title="Own prompts",
        max_length=4096,
        description="Prompts that are answered beside the scenarios: one a line, or JSON lines "
        "with prompt, up to 4096 letters. Empty: none",
    )
    lm_eval_tasks: str = Field(
        "",
        title="lm-eval tasks",
        max_length=4096,
        description="Tasks of lm-eval that are measured beside ours: names, or YAML files, "
        "separated by commas, up to 4096 letters. Empty: none",
    )
    smoke: bool = Field(
        False,
        title="Smoke test",
        description="On = try the whole path first: 2 conversations, 2 steps, stopped at $1; its "
        "numbers mean nothing. Off = the real job",
    )
    assesses: str = Field(
        "",
        title="Assesses",
        max_length=64,
        description="Job whose base model, data and adapter are measured again, its id, up to 64 "
        "letters. Empty: train a new adapter",
    )
    adapter: str = Field(
        "",
        title="Adapter",
        max_length=4096,
        description="Folder of another adapter to measure in place of that job's, up to 4096 "
        "letters. Empty: the job's own",
    )
    beside: tuple[str, ...] = Field(
        (),
        title="Beside",
        max_length=6,
        description="Up to 6 further adapters that are measured beside it, each as NAME=JOB or "
        "NAME=FOLDER. Empty: none",
    )
    repeat: bool = Field(
        False,
        title="Pay again",
        description="On = run although the same job was paid for before. Off = ask then",
    )
    interrupt_at: tuple[int, ...] = Field(
        (),
        title="Interrupt at",
        description="Test of recovery: optimizer steps from 1 on; the k-th pod kills itself after "
        "the k-th of them (local only). Empty: none",
    )

    def filled(self, template: Mapping[str, Any]) -> JobRequest:
        """With a template's values where this request still has the defaults."""
        mine, blank = self.model_dump(), JobRequest(training_file=self.training_file).model_dump()
        given = {name: value for name, value in mine.items() if value != blank[name]}
        over = {k: v for k, v in mine["overrides"].items() if v is not None}
        merged = {**template, **given, "training_file": self.training_file}
        merged["overrides"] = {**template.get("overrides", {}), **over}
        return JobRequest.model_validate(merged)

    @property
    def tested_with(self) -> dict[str, str]:
        """Paths of the client's own files, "" for ours, and the tasks of lm-eval."""
        return {
            "scenarios": self.scenarios_file,
            "questions": self.questions_file,
            "prompts": self.prompts_file,
            "lm_eval": self.lm_eval_tasks,
        }

    @property
    def values(self) -> Hyperparameters:
        """The preset with the overrides laid over it, and over both the cuts of a smoke test."""
        over = self.overrides.model_dump(exclude_none=True) | (SMOKE if self.smoke else {})
        return apply_overrides(preset_of(self.preset).values, over)
