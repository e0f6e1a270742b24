"""What a judge says, whoever the judge is: scores per dimension, and which answer is preferred.

Judge is the seam: people (filled sheets) and language models give the same two kinds of rows.
Automatic markers are no Judge: they count words and never speak on the scale of 1 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from brightrun.verdicts import EvidenceKind

Preferred = Literal["baseline", "trained", "tie"]
LOWEST, HIGHEST = 1, 5


@dataclass(frozen=True, slots=True)
class Score:
    """One judge's score (1-5) of one answer in one dimension; `repeat` tells asked-again apart."""

    judge: str
    model: str
    scenario_id: str
    number: int
    dimension: str
    value: float
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the two answers to a scenario one judge prefers."""

    judge: str
    scenario_id: str
    number: int
    preferred: Preferred


@dataclass(frozen=True, slots=True)
class Opinions:
    """All rows of the judges of one kind; `label` is how the kind is printed beside a number."""

    kind: EvidenceKind
    scores: tuple[Score, ...] = ()
    choices: tuple[Choice, ...] = ()

    @property
    def judges(self) -> tuple[str, ...]:
        named = {score.judge for score in self.scores} | {choice.judge for choice in self.choices}
        return tuple(sorted(named))


class Judge(Protocol):
    """Who scores answers. `kind` stands beside every number that comes from it."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> EvidenceKind: ...

    def opinions(self) -> Opinions:
        """Everything this judge has said; nothing is guessed for what it left out."""
        ...
