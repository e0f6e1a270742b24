"""The smoke test: what it takes of a file, what it may cost, when it is offered."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from training_files import document, write_json

from brightrun import smoke
from brightrun.conversations import FileReport
from brightrun.errors import BudgetError
from brightrun.jobs import SMOKE, JobRequest, JobSpec, Preset
from brightrun.ledger import Ledger, Status
from brightrun.settings import Settings
from expectations.validation import validate_file


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> FileReport:
    file = write_json(tmp_path_factory.mktemp("smoke") / "practice.json", document(9, 4))
    return validate_file(file)


def longer(report: FileReport, tokens: dict[int, int], **more: Any) -> FileReport:
    rows = [
        row.model_copy(update={"tokens": tokens.get(row.index, 10), **more.get(str(row.index), {})})
        for row in report.rows
    ]
    return report.model_copy(update={"rows": tuple(rows)})


def test_it_takes_the_three_longest_conversations(report: FileReport) -> None:
    found = smoke.sample(longer(report, {2: 300, 5: 900, 8: 500, 1: 200}))
    assert [row.index for row in found.rows] == [2, 5, 8]
    assert (found.conversations, found.tokens, found.longest) == (3, 1700, 900)
    assert found.supervised_pairs == sum(row.supervised_pairs for row in found.rows)
    assert sum(found.arcs.values()) == sum(found.personas.values()) == 3
    assert found.sha256 == report.sha256


def test_a_conversation_that_would_be_split_is_taken_last(report: FileReport) -> None:
    """Its parts would be more than two steps."""
    cut = {"2": {"parts": (4000, 4000)}}
    found = smoke.sample(longer(report, {2: 8000, 5: 900, 8: 500, 1: 200}, **cut))
    assert [row.index for row in found.rows] == [1, 5, 8]


def test_a_conversation_without_an_answer_is_not_taken(report: FileReport) -> None:
    mute = {"2": {"supervised_pairs": 0}}
    found = smoke.sample(longer(report, {2: 8000, 5: 900, 8: 500, 1: 200}, **mute))
    assert [row.index for row in found.rows] == [1, 5, 8]


@pytest.mark.parametrize("preset", Preset)
def test_two_conversations_make_two_steps_with_every_preset(preset: Preset) -> None:
    request = JobRequest(training_file="f.json", preset=preset, smoke=True)
    plain = JobRequest(training_file="f.json", preset=preset)
    spec = JobSpec.model_validate(
        {
            "base_model": {"name": "tiny", "context": 8192, "template": "chatml"},
            "data": {
                "name": "f", "source_sha256": "a", "train_sha256": "b", "validation_sha256": "c",
                "train_conversations": 2, "validation_conversations": 1, "supervised_pairs": 9,
                "train_tokens": 100, "supervised_tokens": 50,
            },
            "values": request.values.model_dump(), "plan_sha256": "p", "threads": 2,
        }
    )  # fmt: skip
    assert spec.total_steps == 2
    changed = {
        k for k, v in request.values.model_dump().items() if v != plain.values.model_dump()[k]
    }
    assert changed <= set(SMOKE)
    assert not changed & {"lora_r", "max_length", "precision", "gradient_checkpointing"}


def test_a_test_that_its_cap_would_end_is_refused_before_it_begins() -> None:
    smoke.affordable(Decimal("1.00"), Decimal(1))
    with pytest.raises(BudgetError, match=r"\$1\.36.*cap is \$1\.00") as told:
        smoke.affordable(Decimal("1.36"), Decimal(1))
    assert "BRIGHTRUN_SMOKE_LIMIT_USD" in told.value.fix


def test_it_is_offered_until_a_job_has_completed_at_that_provider(tmp_path: Path) -> None:
    ledger = Ledger.open(Settings(home=tmp_path))
    assert "--smoke" in smoke.advice(ledger, "runpod", Decimal(1))
    assert smoke.advice(ledger, "local", Decimal(1)) == ""
    for name, at in (("j1", "local"), ("j2", "runpod")):
        ledger.create_job(name, JobRequest(training_file="f.json", provider=at))
    ledger.update_job("j1", status=Status.completed)
    assert "--smoke" in smoke.advice(ledger, "runpod", Decimal(1))
    ledger.update_job("j2", status=Status.completed)
    assert smoke.advice(ledger, "runpod", Decimal(1)) == ""
