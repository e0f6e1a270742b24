"""The evaluation's own texts under evals/data: scenarios, questions, rubric, voice, lexicons.

Everything is read once, checked and frozen; a broken file is a located EvaluationError.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brightrun.errors import EvaluationError
from brightrun.runfolder import sha256_file

DATA = Path(__file__).resolve().parent / "data"
SOURCE_FILES = (
    "scenarios.jsonl",
    "questions.jsonl",
    "neutral.jsonl",
    "rewrites.jsonl",
    "rubric.json",
    "voice.json",
    "lexicons.json",
)
Safety = Literal["none", "crisis", "hostility", "sadness_not_crisis"]
Phrases = tuple[str, ...]
OWN_ARC = "own"  # of scenarios and prompts that a client brings


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class EmotionalState(Frozen):
    primary: str = ""
    secondary: str = ""
    intensity: float = Field(0.0, ge=0, le=1)


class Scenario(Frozen):
    """One client message that all models answer; never part of the training data."""

    scenario_id: str = Field(min_length=1)
    persona: str = ""
    arc: str = OWN_ARC
    topic: str = ""
    description: str = ""
    client_message: str = Field(min_length=1)
    emotional_state: EmotionalState = EmotionalState()
    expected_elements: tuple[str, ...] = ()
    safety: Safety = "none"


class Question(Frozen):
    """A knowledge question with four options; `answer` is the content index of the right one."""

    question_id: str = Field(min_length=1)
    topic: str = OWN_ARC
    question: str = Field(min_length=1)
    options: tuple[str, str, str, str]
    answer: int = Field(ge=0, le=3)
    difficulty: str = ""
    year: int | None = None
    headline: bool = True

    @property
    def counts(self) -> bool:
        """True when the question is part of the headline: yearly limits go stale and are not."""
        return self.headline and self.year is None


class NeutralText(Frozen):
    """A passage of public-domain prose that has nothing to do with the training data."""

    text_id: str
    text: str = Field(min_length=1)


class Lexicons(BaseModel):
    """Lower-case plain phrases, matched on word boundaries (see evals.phrases)."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    emotion_words: Phrases = Field(min_length=1)
    validation_phrases: Phrases = Field(min_length=1)
    advice_cues: Phrases = Field(min_length=1)
    jargon: Phrases = Field(min_length=1)
    explanation_cues: Phrases = Field(min_length=1)
    signature_phrases: Phrases = Field(min_length=1)
    both_and_phrases: Phrases = Field(min_length=1)
    perspective_phrases: Phrases = Field(min_length=1)
    step_cues: Phrases = Field(min_length=1)
    time_frames: Phrases = Field(min_length=1)
    permission_phrases: Phrases = Field(min_length=1)
    crisis_terms: Phrases = Field(min_length=1)
    crisis_negations: Phrases = Field(min_length=1)
    budgeting_terms: Phrases = Field(min_length=1)
    uncivil_terms: Phrases = Field(min_length=1)
    boundary_phrases: Phrases = Field(min_length=1)


Row = TypeVar("Row", bound=BaseModel)


def _rows(path: Path, kind: type[Row], key: str) -> tuple[Row, ...]:
    return rows_of(_text(path), path.name, kind, key)


def rows_of(text: str, where: str, kind: type[Row], key: str) -> tuple[Row, ...]:
    """JSON lines as rows, each `key` once; EvaluationError says line, field, value and mend."""
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise EvaluationError(
                f"{where} line {number}{f', {field}' if field else ''}: {first['msg']}",
                fix=f"mend line {number} of {where}: one JSON object a line",
            ) from None
        name = str(getattr(row, key))
        if name in rows:
            raise EvaluationError(
                f"{where} line {number}: {key} {name!r} stands twice, first in line {lines[name]}",
                fix="give each its own",
            )
        rows[name], lines[name] = row, number
    return tuple(rows.values())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EvaluationError(
            f"{path} does not exist", fix="restore evals/data from the repository"
        ) from None


def load_scenarios(data: Path = DATA) -> tuple[Scenario, ...]:
    """All scenarios in file order; EvaluationError names a bad line."""
    return _rows(data / "scenarios.jsonl", Scenario, "scenario_id")


def load_questions(data: Path = DATA) -> tuple[Question, ...]:
    """All questions in file order; EvaluationError names a bad line."""
    return _rows(data / "questions.jsonl", Question, "question_id")


def load_neutral(data: Path = DATA) -> tuple[NeutralText, ...]:
    """The passages of neutral text; none where a set of data has no such file."""
    path = data / "neutral.jsonl"
    return _rows(path, NeutralText, "text_id") if path.exists() else ()


def load_lexicons(data: Path = DATA) -> Lexicons:
    """The phrase lists of the markers and of the safety rules."""
    path = data / "lexicons.json"
    try:
        return Lexicons.model_validate_json(_text(path))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise EvaluationError(f"{path.name}: {found}", fix=f"mend {path}") from None


def source_versions(data: Path = DATA) -> dict[str, dict[str, str]]:
    """{file: {version, sha256}} of the source files that exist; version "" when none is stated."""
    found: dict[str, dict[str, str]] = {}
    for name in SOURCE_FILES:
        path = data / name
        if not path.exists():
            continue
        version = ""
        if name.endswith(".json"):
            content: Any = json.loads(_text(path))
            version = str(content.get("version", "")) if isinstance(content, dict) else ""
        found[name] = {"version": version, "sha256": sha256_file(path)}
    return found
