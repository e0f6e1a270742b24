"""Rating sheets: blind, balanced, repeatable, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rating_sheets import RUBRIC, answered

from brightrun.spreadsheets import harmless
from evals import ratings
from evals.rating import key_of, load_rubric, masked, set_id, sheet
from evals.rating_sheet import as_csv, as_html, columns, guide
from evals.sources import load_scenarios

SCENARIOS = load_scenarios()
NAMES = [s.scenario_id for s in SCENARIOS]
MESSAGES = {s.scenario_id: s.client_message for s in SCENARIOS}
ANSWERS = {
    (model, name): masked(f"{text} {number}")
    for number, name in enumerate(NAMES)
    for model, text in (("baseline", "I am SmolLM2 by Hugging Face, one"), ("trained", "=two()"))
}
SET = set_id(ANSWERS, 42)


def test_every_scenario_stands_once_and_each_model_is_a_in_exactly_half() -> None:
    for rater in (1, 2, 3):
        items = sheet(rater, NAMES, SET, 42)
        once = [i for i in items if not i.repeat]
        assert sorted(i.scenario_id for i in once) == sorted(NAMES)
        assert sum(i.a == "trained" for i in once) == 25
        assert sum(i.a == "trained" for i in items) * 2 == len(items)


def test_a_pair_of_raters_sees_each_scenario_both_ways_in_another_order() -> None:
    first, second = (
        {i.scenario_id: i.a for i in sheet(rater, NAMES, SET, 42) if not i.repeat}
        for rater in (1, 2)
    )
    assert all(first[name] != second[name] for name in NAMES)
    assert list(first) != list(second)


def test_hidden_duplicates_come_back_late_with_their_sides_changed() -> None:
    items = sheet(1, NAMES, SET, 42)
    again = [i for i in items if i.repeat]
    assert 4 <= len(again) <= 6
    for item in again:
        first = next(i for i in items if i.scenario_id == item.scenario_id and not i.repeat)
        assert (item.a, item.b) == (first.b, first.a)
        assert items.index(item) - items.index(first) >= 8
        assert not item.voice
        assert not item.guess
    assert not any(i.repeat for i in sheet(1, NAMES[:5], SET, 42))


def test_voice_is_asked_for_the_same_thirty_scenarios_of_all_raters() -> None:
    voiced = [{i.scenario_id for i in sheet(r, NAMES, SET, 42) if i.voice} for r in (1, 2, 3)]
    assert voiced[0] == voiced[1] == voiced[2]
    assert len(voiced[0]) == 30
    guessed = [i for i in sheet(1, NAMES, SET, 42) if i.guess]
    assert len(guessed) == 10
    assert sum(i.a == "trained" for i in guessed) == 5


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_set() -> None:
    def made(rater: int, sheets: str) -> str:
        items = sheet(rater, NAMES, sheets, 42)
        key = json.dumps(key_of(items))
        page = as_html(items, RUBRIC, MESSAGES, ANSWERS, rater=rater)
        return key + page + as_csv(items, RUBRIC, MESSAGES, ANSWERS)

    assert made(1, SET) == made(1, set_id(ANSWERS, 42))
    assert set_id(ANSWERS, 43) != SET


def test_no_sheet_holds_a_models_name_a_scenario_id_or_anything_from_the_network() -> None:
    items = sheet(1, NAMES, SET, 42)
    page = as_html(items, RUBRIC, MESSAGES, ANSWERS, rater=1)
    table = as_csv(items, RUBRIC, MESSAGES, ANSWERS)
    for text in (page, table, guide(RUBRIC)):
        for name in ("baseline", "SmolLM", "Llama", "Hugging", "adapter", "brightrun", *NAMES):
            assert not re.search(rf"\b{name}", text, re.IGNORECASE), name
    assert '"trained"' not in page
    assert "trained" not in table.replace("which_is_after_training", "").partition("\n")[0]
    assert "http" not in page
    assert "[name] by [name]" in page


def test_the_page_holds_what_the_twin_holds() -> None:
    items = sheet(2, NAMES, SET, 42)
    page = as_html(items, RUBRIC, MESSAGES, ANSWERS, rater=2)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    rows = list(csv.DictReader(io.StringIO(as_csv(items, RUBRIC, MESSAGES, ANSWERS))))
    assert [i["item"] for i in data["items"]] == [r["item"] for r in rows]
    assert tuple(data["columns"]) == columns(load_rubric())
    for shown, row in zip(data["items"], rows, strict=True):
        assert harmless(shown["A"]) == row["answer_A"]


def test_an_answer_can_neither_end_the_script_nor_become_a_formula() -> None:
    evil = dict.fromkeys(ANSWERS, "</script><script>alert(1)</script>")
    items = sheet(1, NAMES, SET, 42)
    assert "</script><script>" not in as_html(items, RUBRIC, MESSAGES, evil, rater=1)
    assert harmless("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    rows = csv.DictReader(io.StringIO(as_csv(items, RUBRIC, MESSAGES, ANSWERS)))
    assert not any(r[c].startswith("=") for r in rows for c in ("answer_A", "answer_B"))


def test_what_a_model_says_of_itself_names_neither_it_nor_its_maker() -> None:
    said = masked("I am Qwen2, created by Alibaba Cloud, not DeepSeek, Gemma 2 or Mixtral.")
    assert said == "I am [name], created by [name], not [name], [name] or [name]."


@pytest.mark.parametrize(
    "said",
    ["LLaMA", "llama 3", "huggingface", "HuggingFaceTB", "CHATGPT", "GPT 4", "Phi-3", "Claude 3.5",
     "Google Gemini"],
)  # fmt: skip
def test_a_models_name_is_masked_however_it_is_written(said: str) -> None:
    assert masked(f"As {said} I can help.") == "As [name] I can help."


def test_a_name_that_a_client_may_have_is_masked_where_a_model_says_who_it_is() -> None:
    assert masked("I'm Claude. My name is Phi, I am Gemini") == (
        "I'm [name]. My name is [name], I am [name]"
    )


@pytest.mark.parametrize("base", ["acme/Foo-7B-Chat@1f", "/models/Foo-7B-Chat.gguf"])
def test_the_jobs_own_base_model_is_not_named(base: str) -> None:
    said = masked("I am foo, or Foo 7b, not foo-7B-chat. Foo fighters cost 7B.", base)
    assert said == "I am [name], or [name], not [name]. Foo fighters cost 7B."
    assert masked("I am a demo of a tiny plan.", "demo") == "I am a demo of a tiny plan."


def test_a_rater_is_shown_no_name_of_the_base_model_of_the_job(tmp_path: Path) -> None:
    folder = answered(tmp_path / "job", NAMES[:2])
    folder.write_json("spec.json", {"spec": {"base_model": {"name": "acme/Foo-7B"}}})
    rows = folder.read_jsonl(ratings.ANSWERS)
    folder.write_jsonl(ratings.ANSWERS, [{**row, "text": "I am Foo 7B."} for row in rows])
    assert set(ratings.shown(folder).values()) == {"I am [name]."}


def test_a_clients_name_is_no_models_name() -> None:
    assert masked("Claude, Gemini and Meta stock") == "Claude, Gemini and Meta stock"
