"""The command line without a job: exit codes, one JSON object, nothing written for bad input."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import brightrun, furnish, inside
from training_files import document, jsonl_rows, write, write_json
from typer.testing import CliRunner

from brightrun.context import JobContext
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load
from evals.sources import load_scenarios
from flows import cli_decide, outcome, terminal
from flows.cli import app
from flows.cli_train import steps_of
from flows.lifecycle_ids import JOB_ID, job_id_of, new_job_id

Json = dict[str, Any]


def broken(place: Path, change: Callable[[Json], object]) -> Path:
    doc = document(3, 4)
    change(doc)
    return write_json(place / "broken.json", doc)


def without_targets(doc: Json) -> None:
    for pair in doc["conversations"][1]["training_pairs"]:
        pair["target_response"] = None


def run(*arguments: str) -> Any:
    """In this process: quick, for what needs no process of its own."""
    return CliRunner().invoke(app, list(arguments))


def test_help_answers_in_about_a_second(home: Path) -> None:
    began = time.monotonic()
    done = brightrun(home, "--help")
    assert done.code == 0
    assert time.monotonic() - began < 3  # about 0.3 s alone; machines are busy
    for command in ("validate", "preview", "estimate", "train", "approve", "cancel", "watch"):
        assert command in done.out


@pytest.mark.parametrize("command", ["train", "validate", "estimate", "approve", "watch", "files"])
def test_every_command_explains_itself(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_a_valid_file_is_exit_0_in_both_forms(home: Path, tmp_path: Path) -> None:
    for command, path in (
        (brightrun, write(tmp_path / "a.json", document(3, 4))),
        (inside, write(tmp_path / "b.jsonl", document(3, 4))),
    ):
        done = command(home, "validate", str(path), "--json")
        assert done.code == 0, done.err
        found = done.json
        assert set(found) == {
            "valid", "conversations", "pairs", "supervised_pairs", "errors", "warnings",
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
    for command in (("validate", path), ("files", "add", path)):
        done = inside(home, *command, "--json")
        assert done.code == 1
        assert done.json["valid"] is False
        (defect,) = done.json["errors"]
        assert defect["code"] == "contamination"
        (found,) = {row["conversation_id"] for row in done.json["contamination"]["blocking"]}
        assert defect["conversation_id"] == found
        assert defect["message"] in " ".join(done.err.split())
    assert not home.exists()


def test_without_git_it_is_the_systems_user_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LOGNAME", "ann")
    assert cli_decide.whoami() == "ann"


def test_a_file_with_a_defect_is_not_registered(home: Path, tmp_path: Path) -> None:
    path = broken(tmp_path, without_targets)
    assert run("files", "add", str(path)).exit_code == 1
    assert not home.exists()


def test_a_registered_file_is_listed_and_its_change_is_noticed(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(3, 4))
    assert run("files", "add", str(path), "--name", "practice").exit_code == 0
    (row,) = json.loads(run("files", "list", "--json").stdout)["files"]
    assert (row["name"], row["pairs"], row["valid"]) == ("practice", 12, True)
    assert json.loads(run("files", "show", "practice", "--json").stdout)["state"] == "unchanged"
    write_json(path, document(4, 4))
    shown = run("files", "show", "practice")
    assert "changed since it was registered" in shown.output


@pytest.mark.parametrize("command", ["validate", "train", "preview", "estimate"])
def test_a_missing_file_is_exit_1_with_its_name(home: Path, command: str) -> None:
    done = inside(home, command, "nowhere.json", *(["--yes"] if command == "train" else []))
    assert done.code == 1
    assert "nowhere.json does not exist" in done.err
    assert done.out == ""
    assert not home.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("train", "x.json", "--wrong"),
        ("train",),
        ("train", "x.json", "--resume", "261122-abcdef"),
        ("train", "x.json", "--interrupt-at", "soon"),
        ("train", "x.json", "--interrupt-at", "0"),
        ("approve", "261122-abcdef", "--approver", " "),
        ("nonsense",),
        ("show",),
        ("approve", "261122-abcdef"),
        ("jobs", "--limit", "0"),
        ("validate", "x.json", "--max-length", "127"),
        ("validate", "x.json", "--quality-min", "11"),
        ("preview", "x.json", "--conversation", "0"),
    ],
)
def test_wrong_use_is_exit_2(home: Path, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2
    assert not home.exists()


def test_resume_names_the_options_that_it_would_have_to_ignore(home: Path) -> None:
    done = run(
        "train", "--resume", "261122-abcdef", "--preset", "balanced", "--set", "epochs=1", "--yes",
        "--json",
    )  # fmt: skip
    assert done.exit_code == 2
    told = " ".join(done.stderr.replace("│", " ").split())
    assert "--preset, --set cannot stand beside --resume" in told
    assert run("train", "--resume", "261122-abcdef", "--yes", "--json").exit_code == 1  # no job


def test_each_defect_is_followed_by_its_mend_on_a_line_of_its_own(
    home: Path, tmp_path: Path
) -> None:
    done = run("validate", str(broken(tmp_path, without_targets)))
    lines = done.stderr.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Training pair #6"))
    assert lines[at].endswith(".")
    assert lines[at + 1].startswith("  Fix: ")


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        (2, ("train", "FILE", "--set", "epochs=99", "--yes"), "epochs = '99'"),
        (2, ("train", "FILE", "--set", "colour=red", "--yes"), "cannot set colour"),
        (2, ("train", "FILE", "--set", "epochs", "--yes"), "is not key=value"),
        (2, ("train", "FILE", "--preset", "bold", "--yes"), "there is no preset 'bold'"),
        (2, ("train", "FILE", "--market", "black", "--yes"), "market"),
        (2, ("estimate", "FILE", "--market", "black"), "there is no market 'black'"),
        (2, ("train", "FILE", "--gpu", "RTX nonsense", "--yes"), "no price for GPU 'RTX nonsense'"),
        (2, ("jobs", "--status", "lost"), "no status 'lost'"),
        (1, ("train", "FILE", "--provider", "runpod", "--yes"), "there is no key for RunPod"),
        (1, ("show", "261122-abcdef"), "there is no job '261122-abcdef'"),
        (1, ("wait", "NOJOB"), "there is no job 'NOJOB'"),
        (2, ("preview", "FILE", "--html", "/no/such/dir/x.html"), "cannot write /no/such/dir"),
    ],
)
def test_a_wrong_option_is_exit_2_what_is_not_there_is_exit_1_each_with_its_mend(
    home: Path, tmp_path: Path, code: int, words: tuple[str, ...], told: str
) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    done = inside(home, *(file if w == "FILE" else w for w in words), "--json")
    assert done.code == code
    error = done.json["error"]
    assert told in error["message"]
    assert error["fix"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["train", "validate", "preview"])
def test_a_folder_is_called_a_folder(home: Path, tmp_path: Path, command: str) -> None:
    done = inside(home, command, str(tmp_path))
    assert done.code == 1
    assert f"{tmp_path} is a folder" in done.err
    assert not home.exists()


def test_a_job_is_refused_by_its_exact_count_before_anything_is_started(
    home: Path, tmp_path: Path, models: Path
) -> None:
    """The model is there, but nobody has prepared it for this home: a first job would do it."""
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    words = ("--base-model", str(models / "tiny"), "--set", "max_length=128")
    done = inside(home, "train", file, "--yes", *words, "--json")
    assert done.code == 1
    assert {defect["code"] for defect in done.json["errors"]} == {"too_long"}
    assert [place.name for place in home.iterdir()] == ["models"]


def test_a_job_without_its_base_model_is_refused_before_anything_is_started(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    done = inside(home, "train", file, "--yes", "--base-model", "demo", "--json")
    assert done.code == 1
    assert "make setup" in done.json["error"]["fix"]
    assert [place.name for place in home.iterdir()] == ["models"]


def test_a_base_model_that_nobody_has_is_told_before_anything_is_started(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    done = inside(home, "estimate", file, "--base-model", "no such model", "--json")
    assert done.code == 1
    assert "no such model" in done.json["error"]["message"]


def test_a_password_of_the_database_is_never_shown(home: Path) -> None:
    url = "postgresql://user:planted-6666@127.0.0.1:9/ledger"
    for words in (("jobs",), ("--debug", "jobs")):
        done = brightrun(home, *words, DATABASE_URL=url)
        assert done.code == 1
        assert "planted-6666" not in done.out + done.err


def test_a_fault_of_ours_is_a_sentence_and_with_debug_a_traceback(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file where the home should be")
    done = brightrun(home, "jobs")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert done.err.startswith("Error")


def test_an_estimate_says_what_it_costs_and_where_the_price_is_from(
    home: Path, tmp_path: Path
) -> None:
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    done = run("estimate", file, "--preset", "demo", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert set(found) >= {
        "tokens_per_epoch", "supervised_tokens", "steps", "hours", "cost_usd", "turnaround_h",
        "vram_gb", "fits", "price", "warnings",
    }  # fmt: skip
    assert found["hours"]["low"] <= found["hours"]["likely"] <= found["hours"]["high"]
    assert set(found["price"]) == {"usd_per_hour", "source", "as_of"}
    more = json.loads(
        run("estimate", file, "--preset", "demo", "--set", "epochs=9", "--json").stdout
    )
    assert more["cost_usd"]["likely"] > found["cost_usd"]["likely"]
    assert not home.exists()


def test_an_estimate_shows_the_month_and_what_the_gate_would_say(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    month = json.loads(run("estimate", file, "--preset", "demo", "--json").stdout)["budget"]
    assert (month["limit"], month["spent"], month["left"]) == (500.0, 0.0, 500.0)
    assert month["gate"]["action"] == "confirm"
    monkeypatch.setenv("BRIGHTRUN_MONTH_BUDGET_USD", "0.000001")
    over = json.loads(run("estimate", file, "--preset", "demo", "--json").stdout)["budget"]
    assert (over["gate"]["action"], over["gate"]["over_budget"]) == ("approve", True)
    done = inside(home, "estimate", file, "--preset", "demo")
    assert "of $500.00 left" in done.out
    assert "Gate: asks for a confirmation" in done.out
    assert not home.exists()


def test_runpod_is_estimated_for_its_own_model_without_having_it(
    home: Path, tmp_path: Path, models: Path
) -> None:
    """The prepared local model must not count the tokens of a model that is not here."""
    furnish(home, models)
    file = str(write_json(tmp_path / "a.json", document(8, 4)))
    late = ("--needed-by", "2019-05-01")
    found = json.loads(run("estimate", file, "--provider", "runpod", *late, "--json").stdout)
    assert found["tokens_exact"] is False
    assert (found["recommendation"]["market"], found["recommendation"]["in_time"]) == (
        "on_demand", False,
    )  # fmt: skip
    assert "too late for 2019-05-01" in found["recommendation"]["why"]
    assert found["interruptions_per_hour"]["likely"] == 0.005
    assert found["vram_gb"] > 40
    assert "prepare meta-llama/Meta-Llama-3-70B-Instruct" in " ".join(found["warnings"])
    local = json.loads(run("estimate", file, "--base-model", "tiny", "--json").stdout)
    assert local["tokens_exact"] is True
    assert "trainer prepare" not in " ".join(local["warnings"])
    assert found["tokens_per_epoch"] != local["tokens_per_epoch"]


def test_a_preview_shows_what_is_trained_on(home: Path, tmp_path: Path) -> None:
    file = str(write_json(tmp_path / "a.json", document(3, 4)))
    page = tmp_path / "page.html"
    assert "Advisor 2.2" in run("preview", file, "--conversation", "2").stdout
    assert run("preview", file, "--html", str(page)).exit_code == 0
    assert "<html" in page.read_text()
    assert run("preview", file, "--conversation", "9").exit_code == 1


def test_an_event_is_told_in_words_not_as_code(home: Path) -> None:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="f.json"))
    JobContext(load(), ledger, "j1").note(
        "stage", {"name": "plan", "elapsed_s": 0.123456, "detail": {"a": "x" * 99}, "gpu": None}
    )
    (line,) = run("events", "j1").stdout.splitlines()
    assert line.endswith("job    stage      name plan, elapsed_s 0.1235, detail ...")
    (event,) = json.loads(run("events", "j1", "--json").stdout)["events"]
    assert event["payload"]["detail"] == {"a": "x" * 99}


def test_a_preview_of_a_bad_file_says_so_in_one_line(home: Path, tmp_path: Path) -> None:
    path = broken(tmp_path, without_targets)
    done = run("preview", str(path), "--conversation", "1")
    assert done.exit_code == 0
    assert "Advisor 1.2" in done.stdout
    line = " ".join(done.stderr.split())
    assert line.startswith(f"{path} has ")
    assert line.endswith(f"brightrun validate {path}")


def test_ids_of_the_terminal_and_of_the_form_are_whole_job_ids() -> None:
    made = (new_job_id(), job_id_of("", "0123456789ab-cdef"))
    assert all(JOB_ID.fullmatch(job_id) for job_id in made)
    assert not any(JOB_ID.fullmatch(part[:-1]) for part in made)


def test_a_value_out_of_range_is_answered_with_the_range(home: Path, tmp_path: Path) -> None:
    done = inside(home, "estimate", "a.json", "--set", "epochs=99", "--json")
    assert done.json["error"]["fix"] == "epochs: Passes over the training data, 1-20"


def test_step_lists_are_read() -> None:
    assert steps_of("12,30") == (12, 30)
    assert steps_of("") == ()


VERDICT = {
    "metric": "emotional_intelligence", "evidence": "llm_judge_uncalibrated", "n": 123456,
    "baseline": 12345.678, "trained": 0.000123, "estimate": -0.2483, "ci_low": -0.25636,
    "ci_high": -0.24035, "target": 0.4, "target_met": "not_measured",
}  # fmt: skip


def test_an_index_of_markers_is_not_held_against_a_target_for_raters() -> None:
    index = {**VERDICT, "metric": "brand_voice", "evidence": "marker", "target": 0.85}
    for target, shown in ((0.85, "rated"), (None, "-")):
        row = outcome.verdict_row({**index, "target": target})
        assert (row["target"], row["verdict"]) == (shown, "-")
    row = outcome.verdict_row({**index, "evidence": "human"})
    assert (row["target"], row["verdict"]) == ("0.85", "not measured")


@pytest.mark.parametrize("width", [80, 140])
def test_the_verdicts_fit_the_terminal_and_no_word_is_broken(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    console = Console(width=width, highlight=False)
    monkeypatch.setattr(terminal, "OUT", console)
    found = {
        "job_id": "261122-abcdef", "status": "completed", "error": None,
        "interrupted": "Interrupted 1x, resumed successfully; 14 min and $0.58 lost",
        "verdicts": [VERDICT, {**VERDICT, "evidence": "measurement", "n": 24}], "cost_usd": 1.5,
        "steps": 20, "report_html": "/x" * 60, "report_pdf": "p", "package": "z", "run_folder": "f",
        "flow_run_id": "a-run",
    }  # fmt: skip
    outcome.show(found)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "/x/x" not in line]
    assert max(map(len, lines)) <= width
    assert "/x" * 60 in out  # a path stays whole, for copying
    assert "Interrupted 1x, resumed successfully" in out
    assert "http://127.0.0.1:4200/runs/flow-run/a-run (after `make ui`)" in out
    assert out.count("not measured") == 2
    assert ("effect" in out) == (width == 140)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (-5, "0 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")]
)
def test_spans_of_time_in_words(seconds: float, text: str) -> None:
    assert terminal.span(seconds) == text


def test_markup_in_a_persons_words_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("[red]client[/red] [bold]")
    assert "[red]client[/red] [bold]" in capsys.readouterr().err


def test_wrong_use_is_told_in_json_where_json_was_asked_for(home: Path) -> None:
    for words in (
        ("train", "x.json", "--wrong"),
        ("show",),
        ("jobs", "--limit", "0"),
        ("files", "x"),
        ("--wrong",),
    ):
        done = inside(home, *words, "--json")
        assert done.code == 2
        assert done.json["error"]["message"]
        assert "--help" in done.json["error"]["fix"]
        assert inside(home, *words).out == ""


def test_detach_without_a_server_fails_before_an_id_is_told(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    done = inside(home, "train", str(path), "--detach", "--yes")
    assert done.code == 1
    assert "no Prefect server is running" in done.err
    assert "Job " not in done.err
    assert "Preparing" not in done.err


def test_the_id_of_a_job_is_told_before_its_base_model_is_prepared(
    home: Path, tmp_path: Path
) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    done = inside(home, "train", str(path), "--base-model", "nosuch/model", "--yes")
    assert done.code == 1
    assert 0 <= done.err.index("Job ") < done.err.index("Preparing the base model")


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


def test_more_scenarios_than_there_are_is_said_in_the_estimate(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    words = ("estimate", str(path), "--set", "scenarios=60", "--set", "questions=100", "--json")
    warnings = inside(home, *words).json["warnings"]
    assert [w for w in warnings if "was asked for" in w] == [
        "scenarios=60 was asked for, there are 50: all 50 are used"
    ]


def test_an_unknown_base_model_is_not_priced(home: Path, tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", document(8, 4))
    done = inside(home, "estimate", str(path), "--base-model", "nosuch/model")
    assert done.code == 1
    assert "python -m trainer prepare nosuch/model" in done.err
