"""The battlecard's file: what others offer, each cell with its source and the day it was seen.

card = read(Path("battlecard.toml"))     # examples/battlecard.toml shows every key

Nobody fills a cell from memory: without source and date it stays out, and an absent one is unknown.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path

from pydantic import Field, model_validator

from brightrun import tomlfiles
from brightrun.frozen import Frozen
from brightrun.verdicts import MetricName

OLD_DAYS = 180  # what somebody offers changes: an older look is marked


class Answer(StrEnum):
    yes = "yes"
    partly = "partly"
    no = "no"
    unknown = "unknown"


class Cell(Frozen):
    """One answer about one product. source: a page, document or conversation to look at again."""

    answer: Answer
    says: str = Field(min_length=1, max_length=240)
    source: str = Field(min_length=1, max_length=300)
    seen: date = Field(description="The day on which somebody looked: 2026-11-20")

    def old(self, today: date) -> bool:
        return (today - self.seen).days > OLD_DAYS


class Question(Frozen):
    """One row. metric: our own answer is the verdict of this name, and is never typed."""

    ask: str = Field(min_length=1, max_length=140)
    metric: MetricName | None = None
    ours: Cell | None = None
    rivals: dict[str, Cell] = Field(default_factory=dict)

    @model_validator(mode="after")
    def measured_or_typed(self) -> Question:
        if self.metric and self.ours:
            raise ValueError("`metric` answers for us: leave `ours` out, or `metric`")
        return self


class Battlecard(Frozen):
    """The file as written."""

    rivals: tuple[str, ...] = Field(min_length=1, max_length=3)
    questions: tuple[Question, ...] = Field(min_length=1, max_length=12)

    @model_validator(mode="after")
    def known_rivals(self) -> Battlecard:
        for question in self.questions:
            for name in question.rivals:
                if name not in self.rivals:
                    raise ValueError(f"{question.ask!r} answers for {name!r}, no name of `rivals`")
        return self


def read(path: Path) -> Battlecard:
    """The card; ConfigurationError names file, line and fault."""
    return tomlfiles.read(path, Battlecard, "battlecard file")
