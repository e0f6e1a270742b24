"""The page about services that are away: every row is shown by tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "outages.md"
AWAY = (
    "Postgres", "storage", "RunPod's API", "Prefect's server", "Slack", "mail", "model hub",
    "Supabase", "Redis", "Prefect's own Postgres", "registry", "STS", "your application",
)  # fmt: skip


def outages() -> list[list[str]]:
    """Cells of the rows about services that are away."""
    lines = PAGE.read_text().splitlines()
    table = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in table[1:]]


def test_every_service_has_its_row_among_the_outages() -> None:
    told = [row[0] for row in outages()]
    assert [name for name in AWAY if not any(one.startswith(name) for one in told)] == []


@pytest.mark.parametrize("row", outages(), ids=lambda row: row[0])
def test_each_outage_names_tests_that_there_are_or_says_that_there_is_none(row: list[str]) -> None:
    away, *_, shown = row
    assert len(row) == 5
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", shown)
    assert bool(named) != (shown == "not tested"), away
    assert len(named) == shown.count("::")
    for file, test in named:
        assert f"\ndef {test}(" in (TESTS / file).read_text(), f"{file}::{test}"
