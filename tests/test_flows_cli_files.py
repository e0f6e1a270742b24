"""Training files in the terminal: validated, shown, registered, refused with nothing written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import brightrun, inside, run
from training_files import document, jsonl_rows, write, write_json

from brightrun.errors import DatasetError
from evals.sources import load_scenarios
from flows.checking import examined
from flows.cli_train import wish
from tasks import estimates

Json = dict[str, Any]


def broken(place: Path, change: Callable[[Json], object]) -> Path:
    doc = document(3, 4)
    change(doc)
    return write_json(place / "broken.json", doc)


def without_targets(doc: Json) -> None:
    for pair in doc["conversations"][1]["training_pairs"]:
        pair["target_response"] = None


def test_a_valid_file_is_exit_0_in_both_forms(home: Path, tmp_path: Path) -> None:
    for command, path in (
        (brightrun, write(tmp_path / "a.json", document(3, 4))),
        (inside, write(tmp_path / "b.jsonl", document(3, 4))),
    ):
        done = command(home, "validate", str(path), "--json")
        assert done.code == 0, done.err
        found = done.json
        assert set(found) == {
            "valid", "conversations", "pairs", "supervised_pairs", "errors", "warnings", "notes",
            "contamination",
        }  # fmt: skip
        assert (found["valid"], found["conversations"], found["supervised_pairs"]) == (True, 3, 6)
    assert not home.exists()


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("command", ["validate", "train", "estimate"])
def test_a_bad_file_is_exit_1_and_nothing_is_written(
    home: Path, tmp_path: Path, command: str, ending: str
) -> None:
    doc = document(3, 4)
    doc["conversations"][1]["training_pairs"][1]["target_response"] = " "
    path = write(tmp_path / f"a{ending}", doc)
    extra = ["--yes"] if command == "train" else []
    done = inside(home, command, str(path), *extra, "--json")
    assert done.code == 1
    assert done.json["valid"] is False
    defect = done.json["errors"][0]
    assert (defect["code"], defect["conversation"]) == ("blank_target", 2)
    where = "#6 (conversation 2, turn 2)" if ending == ".json" else "#3 (conversation 2, turn 2, li"
    assert defect["message"].startswith(f"Training pair {where}")
    assert defect["fix"]
    assert defect["message"] in done.err
    assert "Traceback" not in done.err
    assert not home.exists()


HEAD_ALONE = json.dumps(jsonl_rows(document(1, 2))[0]) + "\n"
ROWS_ALONE = "".join(json.dumps(row) + "\n" for row in jsonl_rows(document(1, 2))[1:])


@pytest.mark.parametrize(
    ("ending", "text", "code"),
    [
        (".json", "", "empty_file"),
        (".json", "{", "truncated"),
        (".json", "not json", "not_json"),
        (".json", "[]", "wrong_type"),
        (".json", '{"conversations": []}', "no_conversations"),
        (".jsonl", "", "empty_file"),
        (".jsonl", "{", "truncated"),
        (".jsonl", "not json\n", "not_json"),
        (".jsonl", "[]", "wrong_type"),
        (".jsonl", HEAD_ALONE, "no_conversations"),
        (".jsonl", ROWS_ALONE, "missing_key"),
    ],
)
def test_what_is_no_training_file_is_told_in_words(
    home: Path, tmp_path: Path, ending: str, text: str, code: str
) -> None:
    path = tmp_path / f"bad{ending}"
    path.write_text(text)
    done = run("train", str(path), "--yes", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["valid"] is False
    assert code in {defect["code"] for defect in found["errors"]}
    assert ".)" not in done.stdout
    assert not home.exists()


def test_a_base_model_that_reads_next_to_nothing_is_refused_in_words(
    home: Path, tmp_path: Path, models: Path
) -> None:
    small = home / "models" / "demo"
    shutil.copytree(models / "tiny", small)
    facts = json.loads((small / "prepared.json").read_text())
    (small / "prepared.json").write_text(json.dumps({**facts, "context": 64}))
    path = write_json(tmp_path / "a.json", document(3, 4))
    for command in (("validate", str(path)), ("train", str(path), "--yes")):
        done = inside(home, *command)
        assert done.code == 1
        told = " ".join(done.err.split())
        assert "demo reads 64 tokens at once" in told
        assert "max_position_embeddings" in told


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("command", ["validate", "train"])
def test_a_conversation_beyond_the_models_context_is_refused(
    home: Path, tmp_path: Path, models: Path, command: str, ending: str
) -> None:
    """max_length stays at its default, which is more than this base model can read."""
    small = home / "models" / "demo"
    shutil.copytree(models / "tiny", small)
    facts = json.loads((small / "prepared.json").read_text())
    (small / "prepared.json").write_text(json.dumps({**facts, "context": 128}))
    path = write(tmp_path / f"a{ending}", document(3, 4))
    extra = ["--yes"] if command == "train" else []
    done = inside(home, command, str(path), *extra, "--json")
    assert done.code == 1
    assert done.json["valid"] is False
    found = done.json["errors"]
    assert [(d["code"], d["conversation"]) for d in found] == [("too_long", n) for n in (1, 2, 3)]
    assert "128 tokens are all this one can read" in found[0]["fix"]
    assert [place.name for place in home.iterdir()] == ["models"]


def test_a_file_that_holds_what_we_test_with_is_invalid(home: Path, tmp_path: Path) -> None:
    doc = document(3, 4)
    text = load_scenarios()[0].client_message
    for pair in doc["conversations"][1]["training_pairs"]:
        pair["current_user_input"] = text
        for turn in pair["conversation_history"]:
            if turn["role"] == "user":
                turn["content"] = text
    path = str(write_json(tmp_path / "a.json", doc))
    for command in (
        ("validate", path), ("files", "add", path), ("estimate", path), ("train", path, "--yes"),
    ):  # fmt: skip
        done = inside(home, *command, "--json")
        assert done.code == 1
        assert done.json["valid"] is False
        (defect,) = done.json["errors"]
        assert defect["code"] == "contamination"
        (found,) = {row["conversation_id"] for row in done.json["contamination"]["blocking"]}
        assert defect["conversation_id"] == found
        assert defect["message"] in " ".join(done.err.split())
        assert "Job " not in done.err
    assert not home.exists()
    own = tmp_path / "own.jsonl"
    own.write_text(load_scenarios()[0].model_dump_json() + "\n")
    assert inside(home, "train", path, "--yes", "--scenarios", str(own)).code == 1
    other = load_scenarios()[0].model_copy(update={"client_message": "What is a budget?"})
    own.write_text(other.model_dump_json() + "\n")
    assert examined(Path(path), tested_with={"scenarios": str(own)})[0].valid
    with pytest.raises(DatasetError, match="1 test item shares 13 or more words"):
        estimates.check.fn(path, "")


def test_a_file_with_a_defect_is_not_registered(home: Path, tmp_path: Path) -> None:
    path = broken(tmp_path, without_targets)
    assert run("files", "add", str(path)).exit_code == 1
    assert not home.exists()


def test_a_registered_file_is_listed_and_its_change_is_noticed(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(3, 4))
    assert run("files", "add", str(path), "--name", "practice").exit_code == 0
    (row,) = json.loads(run("files", "list", "--json").stdout)["files"]
    assert (row["name"], row["pairs"], row["valid"]) == ("practice", 12, True)
    assert row["state"] == "unchanged"
    assert json.loads(run("files", "show", "practice", "--json").stdout)["state"] == "unchanged"
    assert re.search(r"\d\d:\d\d UTC\n", run("files", "show", "practice").stdout)
    write_json(path, document(4, 4))
    shown = run("files", "show", "practice")
    assert "changed since it was registered" in shown.output


def test_a_folder_does_not_hide_a_registered_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_json(tmp_path / "a.json", document(3, 4))
    assert run("files", "add", str(path), "--name", "practice").exit_code == 0
    (tmp_path / "practice").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("validate", "practice").exit_code == 0
    assert wish(yes=True, training_file="practice", preset="demo", overrides={}).training_file == (
        "practice"
    )


def test_each_defect_is_followed_by_its_mend_on_a_line_of_its_own(
    home: Path, tmp_path: Path
) -> None:
    done = run("validate", str(broken(tmp_path, without_targets)))
    lines = done.stderr.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Training pair #6"))
    assert lines[at].endswith(".")
    assert lines[at + 1].startswith("  Fix: ")


def test_a_preview_shows_what_is_trained_on(home: Path, tmp_path: Path) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    page = tmp_path / "page.html"
    assert "Advisor 2.2" in run("preview", file, "--conversation", "2").stdout
    assert run("preview", file, "--html", str(page)).exit_code == 0
    assert "<html" in page.read_text()
    beyond = run("preview", file, "--conversation", "9")
    assert beyond.exit_code == 1
    assert isinstance(beyond.exception, DatasetError)
    assert beyond.exception.fix == "it has 3 conversations"


def test_a_preview_of_a_bad_file_says_so_in_one_line(home: Path, tmp_path: Path) -> None:
    path = broken(tmp_path, without_targets)
    done = run("preview", str(path), "--conversation", "1")
    assert done.exit_code == 0
    assert "Advisor 1.2" in done.stdout
    line = " ".join(done.stderr.split())
    assert line.startswith(f"{path} has ")
    assert line.endswith(f"brightrun validate {path}")


def test_a_preview_says_how_much_of_the_file_it_shows(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(5, 4))
    assert "a.json, conversations 1-3 of 5" in inside(home, "preview", str(path)).out
    page = tmp_path / "out.html"
    damaged = broken(tmp_path, without_targets)
    assert inside(home, "preview", str(damaged), "--html", str(page)).code == 0
    assert re.search(r"conversations? 1.* of \d+", page.read_text())
    assert re.search(r"has \d+ defects?: brightrun validate", page.read_text())


def test_another_file_under_a_known_name_is_told_and_a_changed_one_is_not_called_valid(
    home: Path, tmp_path: Path
) -> None:
    one = write_json(tmp_path / "a.json", document(3, 4))
    other = write_json(tmp_path / "b.json", document(4, 4))
    assert "Replaced" not in inside(home, "files", "add", str(one), "--name", "ex").err
    done = inside(home, "files", "add", str(other), "--name", "ex")
    assert f"Replaced: ex was {one}" in done.err
    assert "yes" in run("files", "list").output
    write_json(other, document(5, 4))
    assert "changed" in run("files", "list").output
    (row,) = json.loads(run("files", "list", "--json").stdout)["files"]
    assert (row["valid"], row["state"]) == (None, "changed since it was registered")
    shown = json.loads(run("files", "show", "ex", "--json").stdout)
    assert (shown["valid"], shown["state"]) == (row["valid"], row["state"])
    assert re.search(r"valid\W+unknown", run("files", "show", "ex").output)
    other.unlink()
    (row,) = json.loads(run("files", "list", "--json").stdout)["files"]
    assert (row["valid"], row["state"]) == (None, "missing")
