"""Options that several commands share, each described once."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

import typer

from brightrun.errors import UsageError

File = Annotated[Path, typer.Argument(help="Training file, brightrun-lora-v4, .json or .jsonl")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
PresetOption = Annotated[
    str, typer.Option(help="conservative | balanced | aggressive | demo (`brightrun presets`)")
]
Provider = Annotated[str, typer.Option(help="Who rents out the machine: local | runpod")]
Gpu = Annotated[str, typer.Option(help="GPU, e.g. 'H100 80GB PCIe'. Default: the provider's.")]
MarketOption = Annotated[str, typer.Option(help="spot (where it is offered) | on_demand")]
NeededBy = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        help="When the report must be there, e.g. 2026-11-30T08:00 (this machine's time zone).",
    ),
]
BaseModel = Annotated[
    str,
    typer.Option(help="demo | tiny | a folder | a .gguf | a hub id. Default: demo on local."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value over the preset, e.g. --set epochs=1. Repeatable."),
]
QualityMin = Annotated[
    float | None,
    typer.Option(min=0, max=10, help="Drop pairs whose quality_score is below this."),
]
OwnScenarios = Annotated[
    str, typer.Option("--scenarios", help="Your test scenarios instead of ours (JSON lines).")
]
OwnQuestions = Annotated[
    str, typer.Option("--questions", help="Your knowledge questions instead of ours (JSON lines).")
]
OwnPrompts = Annotated[
    str, typer.Option("--prompts", help="Prompts answered beside the scenarios, one a line.")
]
LmEval = Annotated[
    str,
    typer.Option("--lm-eval", help="lm-eval tasks beside ours: names or YAML files, with commas."),
]
Job = Annotated[str, typer.Argument(help="Job id, or its unique beginning")]


def overrides_of(pairs: list[str] | None) -> dict[str, Any]:
    """["epochs=1"] -> {"epochs": "1"}; UsageError names what is no key=value."""
    found = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {pair!r} is not key=value", fix="e.g. --set epochs=1")
        found[key.strip()] = value.strip()
    return found


def moment_of(text: str, zone: tzinfo) -> datetime:
    """ "2026-11-01" or "2026-11-01T08:00" in a time zone; UsageError: neither."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day", fix="write it as 2026-11-01") from None
    return found if found.tzinfo else found.replace(tzinfo=zone)
