"""Rating sheets: blind, balanced, repeatable, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

from evals.rating import dimensions, guide, harmless, sheet
from evals.sources import load_scenarios

SCENARIOS = load_scenarios()[:12]
ANSWERS = {
    (model, s.scenario_id): f"{text} {s.scenario_id}"
    for s in SCENARIOS
    for model, text in (("baseline", "one"), ("trained", "=two()"))
}


def made(rater: int = 1) -> tuple[list[dict[str, str]], dict[str, dict[str, str]], str]:
    found = sheet(rater, SCENARIOS, ANSWERS, 42, dimensions())
    return list(csv.DictReader(io.StringIO(found.csv))), found.key, found.csv


def test_every_scenario_stands_once_and_each_model_is_a_in_half() -> None:
    rows, key, _ = made()
    assert sorted(key[r["item"]]["scenario_id"] for r in rows) == [s.scenario_id for s in SCENARIOS]
    assert sum(entry["A"] == "trained" for entry in key.values()) == 6


def test_the_key_says_whose_answer_each_is() -> None:
    rows, key, _ = made()
    for row in rows:
        entry = key[row["item"]]
        for side in ("A", "B"):
            assert row[f"answer_{side}"] == harmless(ANSWERS[entry[side], entry["scenario_id"]])


def test_no_sheet_names_a_model_or_shows_a_scenario_id() -> None:
    _, _, text = made()
    header = text.splitlines()[0]
    assert "trained" not in header
    assert "baseline" not in text.replace("one S", "")
    assert "trained" not in guide(dimensions())


def test_raters_see_another_order_and_the_same_rater_the_same() -> None:
    assert made(1)[2] == made(1)[2]
    assert json.dumps(made(1)[1]) != json.dumps(made(2)[1])


def test_a_models_words_never_become_a_formula() -> None:
    assert harmless("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert harmless("plain") == "plain"
    rows, _, _ = made()
    assert not any(r["answer_A"].startswith("=") or r["answer_B"].startswith("=") for r in rows)
