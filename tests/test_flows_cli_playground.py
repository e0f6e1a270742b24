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
from typer.main import get_command

from brightrun.errors import BrightRunError, TrainerError
from flows.cli import app
from flows.cli_playground import Models, answers, converse

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


ANSWERS = """
import sys
sys.stdin.readline()
for model in ("baseline", "trained"):
    print('{"model": "%s", "text": "I "}' % model)
    print('{"model": "%s", "text": "hear"}' % model)
    print('{"model": "%s", "finish_reason": "stop", "tokens": 2}' % model)
print('{"done": true}', flush=True)
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


@pytest.mark.parametrize("models", [ANSWERS], indirect=True)
def test_both_answers_of_one_question_are_one_object(models: Models) -> None:
    whole = {"text": "I hear", "finish_reason": "stop", "tokens": 2}
    assert answers(models.ask("Hi")) == {"baseline": whole, "trained": whole}


@pytest.mark.parametrize("models", [REFUSES], indirect=True)
def test_what_the_models_refuse_is_no_answer(models: Models) -> None:
    with pytest.raises(BrightRunError, match="too long"):
        answers(models.ask("long"))


def test_a_talk_has_no_json() -> None:
    done = CliRunner().invoke(get_command(app), ["playground", "261122-abcdef", "--json"])
    assert done.exit_code == 2
    assert "--prompt" in done.output


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
