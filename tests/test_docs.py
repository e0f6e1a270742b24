"""The pages under docs/ that teach commands: each of them runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import inside

from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger, Status
from brightrun.settings import load

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("budget", "daily-work", "nightly", "notifications", "estimates", "storage")
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
