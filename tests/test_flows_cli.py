"""The command line without a job: help, exit codes, one JSON object, wrong use in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import brightrun, inside, run
from training_files import EXAMPLE, document, write_json

from flows import cli_decide
from flows.cli_train import steps_of
from flows.lifecycle_ids import JOB_ID_PATTERN, job_id_of, new_job_id


def test_help_names_the_commands_in_a_process_of_its_own(home: Path) -> None:
    """Quickly: test_architecture looks that it loads nothing heavy."""
    done = brightrun(home, "--help")
    assert done.code == 0
    for command in ("validate", "preview", "estimate", "train", "approve", "cancel", "watch"):
        assert command in done.out


@pytest.mark.parametrize("command", ["train", "validate", "estimate", "approve", "watch", "files"])
def test_every_command_explains_itself(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_without_git_it_is_the_systems_user_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LOGNAME", "ann")
    assert cli_decide.whoami() == "ann"


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
        ("approve", "261122-abcdef", "--approver", "Ann", "--override-budget"),
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


def test_debug_may_stand_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGHTRUN_DEBUG", "")
    assert run("presets", "--debug").exit_code == 0
    assert os.environ["BRIGHTRUN_DEBUG"] == "1"


def test_validate_promises_the_same_object_of_a_file_that_is_not_there(home: Path) -> None:
    done = inside(home, "validate", "nowhere.json", "--json")
    assert done.code == 1
    assert (done.json["valid"], done.json["conversations"], done.json["warnings"]) == (False, 0, [])
    whole = inside(home, "validate", str(EXAMPLE), "--json").json
    assert set(done.json) - {"error"} <= set(whole)
    assert {"valid", "conversations", "pairs", "supervised_pairs", "errors"} <= set(done.json)
    (defect,) = done.json["errors"]
    assert (defect["code"], defect["message"]) == ("unreadable", "nowhere.json does not exist")
    assert done.json["error"]["message"] == defect["message"]


def test_ids_of_the_terminal_and_of_the_form_are_whole_job_ids() -> None:
    made = (new_job_id(), job_id_of("", "0123456789ab-cdef"))
    assert all(JOB_ID_PATTERN.fullmatch(job_id) for job_id in made)
    assert not any(JOB_ID_PATTERN.fullmatch(part[:-1]) for part in made)


def test_a_value_out_of_range_is_answered_with_the_range(home: Path, tmp_path: Path) -> None:
    done = inside(home, "estimate", "a.json", "--set", "epochs=99", "--json")
    assert done.json["error"]["fix"] == "epochs: Passes over the training data, 1-20"


def test_step_lists_are_read() -> None:
    assert steps_of("12,30") == (12, 30)
    assert steps_of("") == ()


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
