"""The pages under docs/ that teach commands: each of them runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import inside

from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import load

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("budget",)
JOB = "261122-ab12cd"


def commands(page: str) -> list[list[str]]:
    """The words of every `brightrun ...` line in a bash block."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("brightrun ")]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(home: Path, page: str) -> None:
    Ledger.open(load()).create_job(JOB, JobRequest(training_file="spring", name="Spring"))
    found = commands(page)
    assert found
    for words in found:
        done = inside(home, *words)
        assert done.code == 0, f"brightrun {shlex.join(words)}\n{done.err}"
