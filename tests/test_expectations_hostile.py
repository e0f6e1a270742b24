"""Training files made to harm: refused in words, or harmless; personal data is told, not shown."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from validated import errors, the

from brightrun.errors import DatasetError
from expectations.runner import Runner
from expectations.validation import validate_file

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("training.json", content)
    return out.getvalue()


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".json.gz"])
@pytest.mark.parametrize(("packed", "name"), [(gzip.compress, "gzip"), (zipped, "zip")])
def test_a_compressed_file_is_named_and_never_unpacked(
    packed: Any, name: str, ending: str, tmp_path: Path, runner: Runner
) -> None:
    path = tmp_path / f"bomb{ending}"
    path.write_bytes(packed(b'{"conversations": [' + b" " * 20_000_000))
    report = validate_file(path, runner=runner)
    assert errors(report) == ["compressed"]
    assert name in report.errors[0].message


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "NaN", "Infinity"])
def test_a_number_that_no_machine_holds_is_refused_in_a_document(
    number: str, tmp_path: Path, runner: Runner
) -> None:
    path = tmp_path / "x.json"
    text = json.dumps(tf.document())
    path.write_text(text.replace('"turn_number": 2', f'"turn_number": {number}', 1))
    report = validate_file(path, runner=runner)
    assert errors(report) == ["not_json"]
    assert len(report.errors[0].message) < 300


def test_a_number_too_large_in_a_line_is_located_and_the_rest_is_read(
    tmp_path: Path, runner: Runner
) -> None:
    lines = [json.dumps(row) for row in tf.jsonl_rows(tf.document())]
    lines[1] = lines[1].replace('"turn_number": 2', f'"turn_number": {"9" * 5000}')
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines) + "\n")
    report = validate_file(path, runner=runner)
    assert the(report, "not_json").line == 2
    assert report.conversations == 3


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_control_characters_in_an_id_are_refused_and_paths_and_markup_are_only_text(
    kind: str, tmp_path: Path, runner: Runner
) -> None:
    def judged(name: str) -> list[str]:
        doc = tf.document()
        doc["conversations"][0]["conversation_metadata"]["conversation_id"] = name
        for pair in doc["conversations"][0]["training_pairs"]:
            pair["conversation_id"] = name
        path = tf.write(tmp_path / f"x.{kind}", doc)
        report = validate_file(path, runner=runner)
        assert "\0" not in report.model_dump_json()
        assert "\\u0000" not in report.model_dump_json()
        return errors(report)

    assert judged("../../etc/x<script>=cmd()") == []
    assert "wrong_value" in judged("a\0b")


def test_a_path_with_a_nul_is_an_error_in_words(runner: Runner) -> None:
    with pytest.raises(DatasetError, match="null byte"):
        validate_file(Path("/tmp/a\0b.json"), runner=runner)


def test_every_module_that_writes_csv_makes_formulas_harmless() -> None:
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for room in ("brightrun", "evals", "reports", "tasks", "flows")
        for path in (ROOT / room).rglob("*.py")
    }
    writers = {n: t for n, t in texts.items() if re.search(r"csv\.(writer|DictWriter)|to_csv", t)}
    assert len(writers) >= 3
    assert [n for n, t in writers.items() if not re.search(r"harmless[(,]", t)] == []


def test_personal_data_is_a_warning_with_its_place_and_without_its_value(
    tmp_path: Path, runner: Runner
) -> None:
    doc = tf.document()
    doc["conversations"][1]["training_pairs"][3]["target_response"] += (
        " Write to ann.lee@gmail.com, my number is (415) 867-5309."
    )
    for conversation in doc["conversations"]:
        for pair in conversation["training_pairs"]:
            pair["system_prompt"] += " Client file 078-05-1120"
    report = validate_file(tf.write_json(tmp_path / "x.json", doc), runner=runner)
    assert errors(report) == []
    found = [w for w in report.warnings if w.code == "personal_data"]
    assert [(w.conversation, w.turn_number, w.field) for w in found] == [
        (1, None, "system_prompt"), (2, 4, "target_response"),
    ]  # fmt: skip
    assert found[1].message.endswith("hold an e-mail address (1), a telephone number (1)")
    lines = validate_file(tf.write_jsonl(tmp_path / "x.jsonl", tf.jsonl_rows(doc)), runner=runner)
    placed = [w.line for w in lines.warnings if w.code == "personal_data"]
    assert len(placed) == 2
    assert all(placed)
    told = json.dumps(report.summary())
    assert not [value for value in ("ann.lee", "867-5309", "078-05") if value in told]
