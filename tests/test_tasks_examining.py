"""The doctor's look of every morning: what newly fails is told once, what is mended forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.mail import mail_server

from brightrun import doctor_daily
from brightrun.findings import Check, Finding, State
from brightrun.settings import Settings
from tasks import examining


def finding(name: str, state: State = "fail", said: str = "is away") -> Finding:
    return Finding(name=name, state=state, said=said, fix=f"start {name}")


def test_only_failures_and_other_versions_than_pinned_are_told_and_only_when_new() -> None:
    found = [
        finding("storage"), finding("slack"), finding("runpod", "warn"), finding("email", "skip"),
        finding("packages", "warn", "torch 2.12, not 2.13.0"), finding("disk", "ok"),
    ]  # fmt: skip
    assert [one.name for one in doctor_daily.fresh(found, ())] == ["storage", "slack", "packages"]
    before = doctor_daily.troubles(found)
    assert doctor_daily.fresh(found, before) == ()
    # A failure in other words is the same one; another wrong version is news.
    again = [finding("storage", said="times out"), finding("packages", "warn", "httpx 1, not 2")]
    assert [one.name for one in doctor_daily.fresh(again, before)] == ["packages"]


def test_the_message_has_every_fix() -> None:
    told = doctor_daily.message([finding("storage"), finding("slack")])
    assert (told.title, told.kind) == ("Bright Run: the doctor found 2 new failures", "doctor")
    assert told.lines[0] == "storage: is away. Fix: start storage; see docs/production.md"


@pytest.mark.parametrize("text", [None, "", "{", "3"])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "doctor.json").write_text(text)
    assert doctor_daily.remembered(tmp_path) == ()


def checks(*found: Finding) -> dict[str, Check]:
    def look(settings: Settings) -> Iterator[Finding]:
        yield from found

    return {"mine": look}


def test_people_hear_of_a_failure_once_and_again_when_it_comes_back(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as (inbox, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("BRIGHTRUN_SLACK_TOKEN", "")
        mornings = [
            checks(finding("worker")), checks(finding("worker")), checks(finding("worker", "ok")),
            checks(finding("worker")),
        ]  # fmt: skip
        heard = []
        for more in mornings:
            rows = examining.examine.fn(more)
            assert any(row["name"] == "worker" for row in rows)
            mails = [mail for mail in inbox.mails if "worker: is away" in str(mail)]
            heard.append(len(mails))
    assert heard == [1, 1, 1, 2]
    assert "worker" in json.loads((home / "doctor.json").read_text())
