"""The pages under docs/ that teach commands: each of them runs as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import get_args

import pytest
from commands import inside
from pydantic import SecretStr

from brightrun import doctor_machine, findings
from brightrun.doctor import CHECKS
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.people import Kind
from brightrun.settings import Settings, load

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = (
    "budget", "daily-work", "nightly", "notifications", "estimates", "storage", "runbook",
    "presets", "troubleshooting", "evaluation", "first-run", "cost",
)  # fmt: skip
JOB = "261122-ab12cd"
NO_NUMBER = {
    "code": "trainer", "message": "the loss is not a number", "cause": "", "fix": "",
    "adjustment": {"learning_rate": 0.0001}, "fault": "",
}  # fmt: skip


def commands(page: str) -> list[list[str]]:
    """The words of every `brightrun ...` line in a bash block."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("brightrun ")]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(home: Path, page: str) -> None:
    ledger = Ledger.open(load())
    ledger.create_job(JOB, JobRequest(training_file="spring", name="Spring"))
    ledger.update_job(JOB, status=Status.failed, error=NO_NUMBER)
    ledger.register_adapter(JOB, "spring", "a" * 64, "b" * 64)
    found = commands(page)
    assert found
    for words in found:
        done = inside(home, *words)
        assert done.code == 0, f"brightrun {shlex.join(words)}\n{done.err}"


def test_the_set_up_page_runs_and_the_second_set_up_finds_nothing_to_do(
    home: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's database is there already, as `make setup` leaves it: it takes its time."""
    monkeypatch.setattr(doctor_machine, "DISK_FAIL", 0)  # how full this machine is, is not asked
    shutil.copytree(migrated / "prefect", home / "prefect")
    found = commands("production")
    assert ["setup"] in found
    for words in found:
        done = inside(home, *words)
        assert done.code == 0, f"brightrun {shlex.join(words)}\n{done.err}"
    again = inside(home, "setup", "--json").json
    assert (again["counts"], home.joinpath("ledger.db").exists()) == ({"ok": 3, "skip": 1}, True)


def test_the_set_up_page_names_settings_that_there_are_and_every_check() -> None:
    page = (DOCS / "production.md").read_text()
    named = set(re.findall(r"BRIGHTRUN_[A-Z_]+[A-Z]", page))
    assert len(named) > 10
    assert named - set(findings.names()) == set()
    rows = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    told = {name.strip() for row in rows for name in row.split(",")}
    assert set(CHECKS) - told == set()


def test_a_dry_run_of_setup_makes_nothing(home: Path) -> None:
    told = inside(home, "setup", "--dry-run", "--json").json
    assert told["counts"] == {"skip": 1, "todo": 3}
    assert not home.exists()


def test_the_runbook_says_what_to_do_for_every_kind_of_message() -> None:
    sections = re.findall(r"^## (\w+)$", (DOCS / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(get_args(Kind))


def test_every_setting_that_is_a_secret_is_in_the_list_of_what_it_needs() -> None:
    page = (DOCS / "security.md").read_text()
    table = page[page.index("## The least") :]
    secrets = [
        n.upper() for n, f in Settings.model_fields.items() if SecretStr in get_args(f.annotation)
    ]
    assert len(secrets) > 10
    assert [name for name in secrets if name not in table] == []
