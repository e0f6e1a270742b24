"""A client's own scenarios, questions and prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from brightrun.errors import EvaluationError
from brightrun.jobs import PRESETS, Preset
from brightrun.runfolder import RunFolder
from evals import own
from evals.plan import make_plan

QUESTION = {"question_id": "K1", "question": "Which?", "options": list("abcd"), "answer": 2}
SCENARIO = {"scenario_id": "C1", "client_message": "We cannot agree on the roof."}


def written(folder: Path, name: str, rows: list[dict[str, Any]] | str) -> str:
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8-sig")
    return str(folder / name)


def test_own_files_replace_ours_and_prompts_stand_beside(tmp_path: Path) -> None:
    given = {
        "scenarios": written(tmp_path, "s.jsonl", [SCENARIO]),
        "questions": written(tmp_path, "q.jsonl", [QUESTION]),
        "prompts": written(tmp_path, "p.txt", "How do I start?\n\n  Is gold safe?\n"),
    }
    found = own.asked(50, 100, given)
    assert [s.scenario_id for s in found.scenarios] == ["C1", "P01", "P02"]
    assert found.scenarios[2].client_message == "Is gold safe?"
    assert [q.answer for q in found.questions] == [2]
    beside = own.asked(12, 25, {"prompts": given["prompts"], "scenarios": ""})
    assert len(beside.scenarios) == 14
    assert beside.own == ("scenarios.jsonl",)


def test_the_run_folder_keeps_the_keys_and_the_plan_does_not(tmp_path: Path) -> None:
    tested = own.asked(50, 100, {"questions": written(tmp_path, "q.jsonl", [QUESTION])})
    folder = RunFolder(tmp_path.as_uri(), "job-1")
    tested.write(folder)
    plan = make_plan(PRESETS[Preset.demo].values, "Be kind.", tested=tested)
    plan.write(folder)
    assert "answer" not in folder.read_jsonl("plan/questions.jsonl")[0]
    again = own.of_folder(folder)
    assert again.questions == tested.questions
    assert len(again.scenarios) == 50
    assert again.versions() == tested.versions() == plan.facts["sources"]
    assert plan.facts["n"]["questions"] == 1


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("questions", json.dumps({**QUESTION, "answer": 4}), r"x\.jsonl line 1, answer"),
        ("questions", "\n" + json.dumps({**QUESTION, "options": ["a"]}), "line 2, options"),
        ("scenarios", json.dumps(SCENARIO) + "\n" + json.dumps(SCENARIO), "stands twice, first in"),
        ("scenarios", '{"scenario_id": "a"', "line 1: Invalid JSON"),
        ("scenarios", "", "nothing to measure"),
        ("prompts", "", "holds no prompt"),
        ("prompts", '{"prompt": ""}', "line 1, prompt"),
        ("prompts", '{"prompt": "a"}\n{"b', "line 2 is no JSON"),
        ("prompts", '{"prompt": "a", "prompt_id": "S01"}', "called 'S01'"),
    ],
)
def test_a_wrong_line_is_located(tmp_path: Path, kind: str, text: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        own.asked(50, 100, {kind: written(tmp_path, "x.jsonl", text)})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be read"):
        own.asked(50, 100, {"prompts": str(tmp_path / "absent.txt")})
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(EvaluationError, match="no UTF-8"):
        own.asked(50, 100, {"prompts": str(tmp_path / "latin.txt")})
