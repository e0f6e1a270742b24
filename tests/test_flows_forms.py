"""The forms of the deployments: every field says what it does and what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from brightrun.jobs import PRESETS, JobRequest
from flows.budget import BudgetRequest
from flows.estimate import EstimateRequest
from flows.reassess import ReassessRequest
from flows.steer import CancelRequest, ResumeRequest, SwitchRequest
from flows.ui import DEPLOYED
from tasks.gate import Approval

ROOT = Path(__file__).resolve().parents[1]
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxLength")
Schema = dict[str, Any]


def fields(form: type[BaseModel]) -> Iterator[tuple[str, Schema, list[Schema]]]:
    """(name, field, its kinds) as Prefect gets them; nested forms included, references resolved."""
    schema = form.model_json_schema()
    definitions = schema.get("$defs", {})

    def resolved(kind: Schema) -> Schema:
        return definitions[kind["$ref"].rsplit("/", 1)[1]] if "$ref" in kind else kind

    def walk(properties: Schema) -> Iterator[tuple[str, Schema, list[Schema]]]:
        for name, field in properties.items():
            kinds = [resolved(kind) for kind in field.get("anyOf", [field])]
            yield name, field, kinds
            for kind in kinds:
                yield from walk(kind.get("properties", {}))

    return walk(schema["properties"])


FIELDS = [
    pytest.param(field, kinds, id=f"{form.__name__}.{name}")
    for form in (
        JobRequest,
        EstimateRequest,
        Approval,
        CancelRequest,
        SwitchRequest,
        ResumeRequest,
        ReassessRequest,
        BudgetRequest,
    )
    for name, field, kinds in fields(form)
]


def missing(field: Schema, kinds: list[Schema]) -> list[str]:
    """What a field's description leaves out: its purpose, a bound, an allowed value, on and off."""
    said = field.get("description", "")
    words = re.split(r"\W*\bEmpty: ", said)[0].split()
    found = [] if len(words) >= 4 else ["what it does"]
    numbers = {float(n) for n in re.findall(r"\d+(?:\.\d+)?", said)}
    for kind in kinds:
        found += [b for b in BOUNDS if b in kind and float(kind[b]) not in numbers]
        found += [value for value in kind.get("enum", []) if not re.search(rf"\b{value}\b", said)]
        if kind.get("type") == "boolean" and not {"On", "Off"} <= set(re.findall(r"\w+", said)):
            found.append("on and off")
    return found


def test_the_form_asks_first_what_every_run_needs() -> None:
    names = list(JobRequest.model_json_schema()["properties"])
    assert names[:8] == [
        "training_file", "preset", "market", "name", "client", "requested_by", "notes", "confirm",
    ]  # fmt: skip
    assert {"overrides", "template"} <= set(names[8:])


@pytest.mark.parametrize(("field", "kinds"), FIELDS)
def test_a_field_says_what_it_does_and_what_it_takes(field: Schema, kinds: list[Schema]) -> None:
    assert missing(field, kinds) == []


def test_a_field_without_such_words_is_found() -> None:
    assert missing({}, [{"type": "string"}]) == ["what it does"]
    bounded = {"description": "Passes over the data, from 1 on", "minimum": 1, "maximum": 20}
    assert missing(bounded, [bounded]) == ["maximum"]
    chosen = {"description": "How it is rented: spot or else", "enum": ["spot", "on_demand"]}
    assert missing(chosen, [chosen]) == ["on_demand"]
    switch = {"description": "Less memory for more time", "type": "boolean"}
    assert missing(switch, [switch]) == ["on and off"]


def test_the_form_names_each_presets_expected_result_and_risk() -> None:
    said = JobRequest.model_json_schema()["properties"]["preset"]["description"]
    for preset, info in PRESETS.items():
        line = next(text for text in said.split("\n\n") if f"**{preset}**" in text)
        assert info.expected in line
        assert info.risk in line


def test_every_deployment_is_told_by_make_ui_and_by_the_readme() -> None:
    deployed = re.findall(r"^  - name: (\w+)", (ROOT / "prefect.yaml").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"\w+", DEPLOYED)) == sorted(deployed)
    section = (ROOT / "README.md").read_text().split("## In the browser")[1].split("\n## ")[0]
    assert set(deployed) <= set(re.findall(r"\*\*(\w+)\*\*", section))


@pytest.mark.parametrize("action", ["set", "raise"])
def test_a_budget_is_not_changed_to_what_nobody_typed(action: str) -> None:
    """The field's default was 0: a limit of $0 stops every job."""
    with pytest.raises(ValidationError, match=f"{action} needs Dollars"):
        BudgetRequest.model_validate({"action": action, "by": "Ann", "reason": "r"})
    typed = BudgetRequest.model_validate({"action": action, "usd": 0})
    assert typed.usd == 0
    assert BudgetRequest().usd is None
