"""What a client brings to be tested with: scenarios, questions, prompts; checked, frozen by hash.

Own scenarios or questions replace ours; prompts are asked beside the scenarios, tasks of lm-eval
beside the questions. The rows with keys
and expected elements lie under sources/ of the run folder, the pod's plan holds only what is asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from brightrun.errors import EvaluationError
from brightrun.runfolder import RunFolder
from evals import harness
from evals.harness import HarnessItem
from evals.sources import (
    DATA,
    Frozen,
    Question,
    Scenario,
    load_questions,
    load_scenarios,
    rows_of,
    source_versions,
)

FOLDER = "sources"
SCENARIOS, QUESTIONS, HARNESS = "scenarios.jsonl", "questions.jsonl", "harness.jsonl"
MOST_MB = 20
ALL = 1_000_000


class Prompt(Frozen):
    """One line of a client's own prompts."""

    prompt_id: str = ""
    prompt: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is tested with. own: the files (by the names of ours) that a client brought."""

    scenarios: tuple[Scenario, ...]
    questions: tuple[Question, ...]
    own: tuple[str, ...] = ()
    harness: tuple[HarnessItem, ...] = ()

    def files(self) -> dict[str, bytes]:
        """The rows of the own files, with keys and all, for the run folder."""
        rows: dict[str, Any] = {
            SCENARIOS: self.scenarios, QUESTIONS: self.questions, HARNESS: self.harness,
        }  # fmt: skip
        return {
            name: "".join(row.model_dump_json() + "\n" for row in rows[name]).encode()
            for name in self.own
        }

    def versions(self, data: Path = DATA) -> dict[str, dict[str, str]]:
        """`source_versions`, with the hashes of the own files in place of ours."""
        own = {
            name: {"version": "the client's own", "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in self.files().items()
        }
        return {**source_versions(data), **own}

    def write(self, folder: RunFolder) -> None:
        for name, content in self.files().items():
            folder.write_bytes(f"{FOLDER}/{name}", content)


def asked(
    scenarios: int, questions: int, given: Mapping[str, str] | None = None, data: Path = DATA
) -> Asked:
    """The first so many of ours, or all of a client's own. given: scenarios, questions, prompts ->
    path, lm_eval -> tasks; EvaluationError says where a file is wrong."""
    paths = {kind: path for kind, path in (given or {}).items() if path}
    told: tuple[Scenario, ...] = load_scenarios(data)[:scenarios]
    keyed: tuple[Question, ...] = load_questions(data)[:questions]
    items: tuple[HarnessItem, ...] = ()
    own = []
    if "scenarios" in paths:
        told = rows_of(*_read(paths["scenarios"]), Scenario, "scenario_id")
        own.append(SCENARIOS)
    if "prompts" in paths:
        told = (*told, *read_prompts(*_read(paths["prompts"]), {s.scenario_id for s in told}))
        own.append(SCENARIOS)
    if "questions" in paths:
        keyed = rows_of(*_read(paths["questions"]), Question, "question_id")
        own.append(QUESTIONS)
    if "lm_eval" in paths:
        items = harness.read(paths["lm_eval"])
        own.append(HARNESS)
    if not told or not keyed:
        raise EvaluationError(
            "there is nothing to measure: no scenarios or no questions",
            fix=f"give files that hold some, or restore ours in {data}",
        )
    return Asked(told, keyed, tuple(dict.fromkeys(own)), items)


def everything(given: Mapping[str, str] | None = None) -> Asked:
    """All of ours, or of what a client brought: what a training file must not hold."""
    return asked(ALL, ALL, given)


def of_folder(folder: RunFolder, data: Path = DATA) -> Asked:
    """What a planned job is tested with: its own files where it has some, else all of ours."""
    own = tuple(n for n in (SCENARIOS, QUESTIONS, HARNESS) if folder.exists(f"{FOLDER}/{n}"))

    def text(name: str) -> tuple[str, str]:
        return folder.read_bytes(f"{FOLDER}/{name}").decode(), f"{FOLDER}/{name}"

    return Asked(
        rows_of(*text(SCENARIOS), Scenario, "scenario_id")
        if SCENARIOS in own
        else load_scenarios(data),
        rows_of(*text(QUESTIONS), Question, "question_id")
        if QUESTIONS in own
        else load_questions(data),
        own,
        rows_of(*text(HARNESS), HarnessItem, "item_id") if HARNESS in own else (),
    )


def read_prompts(text: str, where: str, taken: set[str]) -> tuple[Scenario, ...]:
    """Prompts as scenarios without expectations: JSON lines {prompt[, prompt_id]}, or plain text
    with one prompt a line."""
    if not text.lstrip().startswith("{"):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        found = [Prompt(prompt=line) for line in lines]
    else:
        found = [
            _prompt(line, f"{where} line {number}")
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip()
        ]
    if not found:
        raise EvaluationError(f"{where} holds no prompt", fix="one prompt a line")
    rows = []
    for number, prompt in enumerate(found, start=1):
        name = prompt.prompt_id or f"P{number:02d}"
        if name in taken:
            raise EvaluationError(
                f"{where}: prompt {number} is called {name!r}, as another scenario is",
                fix="give it a prompt_id of its own",
            )
        taken.add(name)
        rows.append(Scenario(scenario_id=name, client_message=prompt.prompt, topic="prompt"))
    return tuple(rows)


def _prompt(line: str, where: str) -> Prompt:
    try:
        return Prompt.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise EvaluationError(
            f"{where}, {field}: {first['msg']}", fix='e.g. {"prompt": "..."}'
        ) from None
    except ValueError as error:
        raise EvaluationError(
            f"{where} is no JSON: {error}", fix='e.g. {"prompt": "..."}'
        ) from None


def _read(path: str) -> tuple[str, str]:
    """(text, name) of a client's file."""
    place = Path(path).expanduser()
    try:
        if place.stat().st_size > MOST_MB * 1_000_000:
            raise EvaluationError(
                f"{path} has {place.stat().st_size / 1e6:.0f} MB, more than {MOST_MB}",
                fix="is it the right file? Scenarios, questions and prompts are JSON lines",
            )
        return place.read_text(encoding="utf-8-sig"), place.name
    except OSError as error:
        raise EvaluationError(
            f"{path} cannot be read: {error.strerror}", fix="check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise EvaluationError(
            f"{path} is no UTF-8 text (byte {error.start})", fix="save it as UTF-8"
        ) from None
