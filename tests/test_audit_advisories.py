from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit import __main__ as command
from audit import advisories, credentials, licences
from audit.found import Found

CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited"}
HOLE = {
    "name": "c", "version": "2",
    "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "state"),
    [([CLEAN], "ok"), ([SKIPPED], "not checked"), ([], "not checked"), ([CLEAN, SKIPPED],
     "not checked"), ([CLEAN, HOLE], "fail"), ([SKIPPED, HOLE], "fail")],
)  # fmt: skip
def test_only_what_was_asked_about_passes(rows: list[dict[str, Any]], state: str) -> None:
    assert advisories.verdict({"dependencies": rows}).state == state


def test_a_hole_is_named_with_its_mend_and_what_was_left_out_is_counted() -> None:
    found = advisories.verdict({"dependencies": [HOLE, SKIPPED]})
    assert found.faults == ("c 2: CVE-2026-1, mended in 2.1",)
    assert "not checked: 1 of 2 (b, ...)" in found.said


def program(room: Path, script: str) -> None:
    """A program in pip-audit's place that answers as its JSON does."""
    place = room / "bin" / "pip-audit"
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\necho asked >> {room}/asked\n{script}\n")
    place.chmod(0o755)


def looked(tmp_path: Path, script: str) -> tuple[Found, int]:
    """What it came to, and how often the program ran."""
    (tmp_path / "constraints.txt").write_text("# exact\na==1\nb==1\n")
    program(tmp_path / "room", script)
    found = advisories.look(tmp_path, tmp_path / "room")
    return found, len((tmp_path / "room" / "asked").read_text().splitlines())


def test_where_the_advisories_know_nothing_one_pin_is_asked_about_and_nothing_passes(
    tmp_path: Path,
) -> None:
    answer = json.dumps({"dependencies": [SKIPPED]})
    found, asked = looked(tmp_path, f"echo '{answer}'; exit 0")
    assert (found.state, asked) == ("not checked", 1)


def test_a_failure_of_the_tool_is_no_hole_and_no_pass(tmp_path: Path) -> None:
    found, _ = looked(tmp_path, "echo 'cannot resolve the host' >&2; exit 1")
    assert found == Found(
        advisories.WHAT, "not checked", "pip-audit did not answer: cannot resolve the host"
    )


def test_all_pins_are_asked_about_where_the_first_was_answered(tmp_path: Path) -> None:
    answer = json.dumps({"dependencies": [CLEAN, HOLE]})
    found, asked = looked(tmp_path, f"echo '{answer}'; exit 1")
    assert (found.state, asked) == ("fail", 2)


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("not checked", 0), ("fail", 1)])
def test_a_failed_look_ends_the_command_with_1(
    state: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (credentials, licences):
        monkeypatch.setattr(module, "look", lambda *_: Found("one", "ok", "fine"))
    told = Found("pins", state, "said", ("named",) if state == "fail" else ())
    monkeypatch.setattr(advisories, "look", lambda *_: told)
    assert command.main() == code
    assert f"{state}:" in capsys.readouterr().out
