"""The playground's terminal: what a person reads when the models' process goes on, or is gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from brightrun.errors import TrainerError
from flows.cli_playground import Models, converse

HALF = """
import sys
sys.stdin.readline()
print('{"model": "baseline", "text": "I he"}')
sys.stdout.write('{"model": "base')
"""
REFUSES = """
import sys
for line in sys.stdin:
    print('{"error": {"message": "too long"}}' if "long" in line else '{"done": true}', flush=True)
"""


@pytest.fixture
def models(request: Any) -> Iterator[Models]:
    """A process that speaks as the trainer's does."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", request.param], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield Models(process, "")
        process.kill()


@pytest.mark.parametrize("models", [HALF], indirect=True)
def test_a_process_that_dies_has_not_answered(models: Models) -> None:
    answer = models.ask("Hi")
    assert next(answer)["text"] == "I he"
    with pytest.raises(TrainerError, match="in the middle of an answer"):
        next(answer)
    assert models.ended
    models.process.wait()
    for _ in range(2):
        with pytest.raises(TrainerError, match="has ended"):
            next(models.ask("Are you there?"))


@pytest.mark.parametrize("models", [REFUSES], indirect=True)
def test_neither_an_empty_line_nor_a_refusal_ends_the_talk(models: Models) -> None:
    page: Any = SimpleNamespace(one_at_a_time=threading.Lock())
    asked: list[str] = []

    def ask(typed: str) -> Iterator[dict[str, Any]]:
        asked.append(typed)
        return models.ask(typed)

    both: Any = SimpleNamespace(ended=False, ask=ask)
    with CliRunner().isolation(input="\nlong\n \nHi\n"):
        converse(both, page)
    assert asked == ["long", "Hi"]


def test_the_talk_ends_with_the_process() -> None:
    def gone(prompt: str) -> Iterator[dict[str, Any]]:
        raise TrainerError("the models' process has ended")

    page: Any = SimpleNamespace(one_at_a_time=threading.Lock())
    both: Any = SimpleNamespace(ended=True, ask=gone)
    with CliRunner().isolation(input="Hi\nHi\n"), pytest.raises(TrainerError, match="has ended"):
        converse(both, page)
