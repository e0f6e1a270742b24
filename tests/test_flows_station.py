"""A station of a team: what it needs before it works, and the files that start a whole team."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import ROOT
from team import compose

from brightrun.compute.ending import STOP_FAILED_AFTER
from brightrun.errors import ConfigurationError
from brightrun.settings import Settings, load
from flows import deployed, station, tending
from flows.silence import Silence

DEPLOYMENTS = ROOT / "deployments"
OWN_IMAGE = ("server", "services", "setup", "station")


@pytest.mark.parametrize(
    ("url", "said"),
    [("", "needs to know its Prefect server"), ("http://127.0.0.1:9/api", "answers at .*:9/api")],
)
def test_a_station_without_a_server_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("BRIGHTRUN_PREFECT_URL", url)
    with pytest.raises(ConfigurationError, match=said) as caught:
        station.up(load())
    assert caught.value.fix


def test_a_ledger_that_is_away_ends_no_station(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its runs wait for the ledger; they would die with it."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:9/ledger")
    tending.sweep(load(), "http://127.0.0.1:9/api", Silence())
    said = capsys.readouterr().err
    assert "Sweeping is put off" in said
    assert "secret" not in said


def test_each_environment_has_a_work_pool_of_its_own() -> None:
    staging = Settings(pool="brightrun-staging")
    wanted = yaml.safe_load(deployed.asked_in(staging))["deployments"]
    assert {one["work_pool"]["name"] for one in wanted} == {"brightrun-staging"}
    assert set(deployed.differing({}, staging)) == {one["name"] for one in wanted}
    there = {one["name"]: deployed.facts_asked(one) for one in wanted}
    assert deployed.differing(there, staging) == ()
    assert set(deployed.differing(there, Settings())) == set(there)


def test_mornings_and_nights_are_those_of_the_time_zone() -> None:
    """At 07:00 UTC it is still yesterday in California: the digest would be a day late."""
    assert deployed.asked_in(Settings()) == deployed.ASKED.read_text("utf-8")
    here = Settings(time_zone="America/Los_Angeles", nightly_at="23:05")
    found = {one["name"]: one for one in yaml.safe_load(deployed.asked_in(here))["deployments"]}
    crons = [
        (name, schedule["cron"], schedule["timezone"])
        for name, one in found.items()
        for schedule in one.get("schedules", ())
        if "cron" in schedule
    ]
    assert {zone for *_, zone in crons} == {"America/Los_Angeles"}
    assert {name: cron for name, cron, _ in crons}.items() >= {
        "nightly": "5 23 * * *", "digest": "0 7 * * *",
    }.items()  # fmt: skip
    there = {name: deployed.facts_asked(one) for name, one in found.items()}
    assert deployed.differing(there, here) == ()
    assert set(deployed.differing(there, Settings())) == {name for name, *_ in crons}


def test_what_looks_after_jobs_does_not_wait_in_the_queue_of_jobs() -> None:
    queues = {
        one["name"]: one["work_pool"].get("work_queue_name", "")
        for one in yaml.safe_load(deployed.ASKED.read_text())["deployments"]
    }
    steer = ("pause", "cancel", "resume", "switch")
    assert {queues[name] for name in ("reap", "budget", *steer)} == {"care"}
    assert {queues[name] for name in ("finetune", "nightly", "reassess")} == {""}


def test_a_pod_that_cannot_be_ended_does_not_keep_the_reaper_from_the_others() -> None:
    """Its run takes ten minutes, which was the place of the next one."""
    found = {one["name"]: one for one in yaml.safe_load(deployed.ASKED.read_text())["deployments"]}
    reap = found["reap"]
    (every,) = (schedule["interval"] for schedule in reap["schedules"])
    at_once = reap["concurrency_limit"]["limit"]
    assert (at_once - 1) * every >= STOP_FAILED_AFTER.total_seconds()


def services() -> dict[str, dict[str, Any]]:
    return dict(compose()["services"])


def test_every_part_of_the_compose_file_is_there() -> None:
    file, known = compose(), services()
    for name, service in known.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = how["condition"]
            assert wanted != "service_healthy" or "healthcheck" in known[other], (name, other)
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            place = "/" in source or source.startswith("$")
            assert source in file["volumes"] or place, (name, mount)
        assert "image" in service
        assert ":latest" not in str(service)
    assert {name for name in known if "ports" in known[name]} == {"proxy"}
    made = DEPLOYMENTS / known["server"]["build"]["dockerfile"].rpartition("/")[2]
    assert made.is_file()
    assert {"DATABASE_URL", "BRIGHTRUN_PREFECT_URL"} <= set(known["station"]["environment"])
    assert known["station"]["environment"] == known["setup"]["environment"]


def test_no_secret_stands_in_the_compose_file_and_each_is_asked_for() -> None:
    text = (DEPLOYMENTS / "docker-compose.yaml").read_text()
    assert re.findall(r"//\w+:(?!\$)[^@\s]+@", text) == []
    page = (ROOT / "docs" / "team.md").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+):\?\}", text))
    assert asked == {"POSTGRES_PASSWORD", "PUBLIC_HOST", "LOGIN_NAME", "LOGIN_HASH"}
    assert [name for name in asked if f"{name}=" not in page] == []


def test_the_programs_of_the_compose_file_and_of_the_page_are_ours_or_prefects() -> None:
    page = (ROOT / "docs" / "team.md").read_text()
    told = [shlex.split(line) for line in re.findall(r"^\| [^|]+ \| `([^`]+)` \|", page, re.M)]
    started = [services()[name]["command"] for name in OWN_IMAGE]
    assert [words for words in told if words not in started] == []
    for words in started:
        if words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]) is not None
        else:
            assert words[0] in ("prefect", "brightrun")


def test_the_settings_of_the_page_are_there() -> None:
    page = (ROOT / "docs" / "team.md").read_text()
    known = {f"BRIGHTRUN_{name.upper()}" for name in type(load()).model_fields}
    named = set(re.findall(r"`(BRIGHTRUN_[A-Z_]+[A-Z])", page))
    assert len(named) >= 5
    assert named - known == set()
