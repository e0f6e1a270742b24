"""The wish to measure a finished adapter again, as a job of its own."""

from __future__ import annotations

from pydantic import Field

from brightrun.errors import UsageError
from brightrun.frozen import Frozen
from brightrun.jobs import Confirm, JobRequest, Overrides
from brightrun.modelnames import all_models

# What may be changed without training anything.
MEASURING = ("passes", "rotations", "max_new_tokens")


class Wish(Frozen):
    """What is measured that was not before; empty fields keep what the job was measured with."""

    scenarios_file: str = Field(
        "",
        title="Own scenarios",
        max_length=4096,
        description="Other test scenarios, JSON lines, up to 4096 letters. Empty: as the job had",
    )
    questions_file: str = Field(
        "",
        title="Own questions",
        max_length=4096,
        description="Other knowledge questions, JSON lines, up to 4096 letters. Empty: its own",
    )
    prompts_file: str = Field(
        "",
        title="Own prompts",
        max_length=4096,
        description="Prompts beside the scenarios, one a line, up to 4096 letters. Empty: as the "
        "job had",
    )
    lm_eval_tasks: str = Field(
        "",
        title="lm-eval tasks",
        max_length=4096,
        description="Tasks of lm-eval that are measured beside ours: names, or YAML files, "
        "separated by commas, up to 4096 letters. Empty: as the job had",
    )
    adapter: str = Field(
        "",
        title="Adapter",
        max_length=4096,
        description="Folder of another adapter to measure in place of the job's, up to 4096 "
        "letters. Empty: the job's own",
    )
    beside: tuple[str, ...] = Field(
        (),
        title="Beside",
        max_length=6,
        description="Up to 6 further adapters that are measured beside it, each as NAME=JOB or "
        "NAME=FOLDER. Empty: none",
    )
    passes: int | None = Field(
        None,
        title="Passes",
        ge=1,
        le=10,
        description="Answers per scenario and model, 1-10. Empty: as the job had it",
    )
    by: str = Field(
        "",
        title="Asked by",
        max_length=120,
        description="Who asks, for the record, up to 120 letters. Empty: nobody named",
    )


def request_of(before: JobRequest, job_id: str, wish: Wish) -> JobRequest:
    """The assessment as a job; UsageError for a model's name that cannot be."""
    named(wish.beside)
    overrides = before.overrides.model_dump(exclude_none=True)
    if wish.passes is not None:
        overrides["passes"] = wish.passes
    return before.model_copy(
        update={
            "assesses": job_id,
            "adapter": wish.adapter,
            "beside": wish.beside,
            "scenarios_file": wish.scenarios_file or before.scenarios_file,
            "questions_file": wish.questions_file or before.questions_file,
            "prompts_file": wish.prompts_file or before.prompts_file,
            "lm_eval_tasks": wish.lm_eval_tasks or before.lm_eval_tasks,
            "overrides": Overrides.model_validate(overrides),
            "name": f"{before.name} assessed again".strip()[:120],
            "requested_by": wish.by,
            "confirm": Confirm.above_limits,
            "needed_by": None,
            "interrupt_at": (),
            "repeat": False,
        }
    )


def named(beside: tuple[str, ...]) -> dict[str, str]:
    """{name: job or folder} of NAME=JOB; UsageError names what is none."""
    found: dict[str, str] = {}
    for pair in beside:
        name, equals, place = pair.partition("=")
        if not equals or not place.strip():
            raise UsageError(
                f"{pair!r} is not NAME=JOB or NAME=FOLDER", fix="e.g. control=261122-ab"
            )
        if name in found:
            raise UsageError(f"{name} names two models", fix="give each its own name")
        found[name] = place.strip()
    all_models(found)
    return found
