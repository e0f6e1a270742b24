"""What is deployed is compared with prefect.yaml; slow: setup at a real Prefect server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from commands import brightrun, shared_server

from brightrun.errors import ProviderError
from brightrun.settings import Settings, load
from flows import deployed, readiness, server

ASKED = {one["name"]: one for one in yaml.safe_load(deployed.ASKED.read_text())["deployments"]}
# As Prefect 3.8.8 answered for the deployment `reap`, shortened.
REAP = {
    "entrypoint": "flows.reap.reap",
    "work_pool_name": "brightrun-local",
    "schedules": [{"schedule": {"interval": 300.0, "timezone": "UTC"}, "active": True}],
    "concurrency_limit": None,
    "global_concurrency_limit": {"limit": 3, "active_slots": 0},
}


def test_what_was_deployed_is_as_prefect_yaml_has_it() -> None:
    assert deployed.facts_there(REAP) == deployed.facts_asked(ASKED["reap"])


@pytest.mark.parametrize(
    "changed",
    [
        {"entrypoint": "flows.other.reap"},
        {"work_pool_name": "another"},
        {"schedules": []},
        {"schedules": [{"schedule": {"interval": 600.0}}]},
        {"global_concurrency_limit": None},
    ],
)
def test_another_schedule_pool_or_limit_is_a_difference(changed: dict[str, object]) -> None:
    assert deployed.facts_there({**REAP, **changed}) != deployed.facts_asked(ASKED["reap"])
    assert "reap" in deployed.differing(
        {"reap": deployed.facts_there({**REAP, **changed})}, Settings()
    )


def test_a_server_that_does_not_answer_is_told_with_its_address(home: Path) -> None:
    url = f"http://127.0.0.1:{server.free_port()}/api"
    with pytest.raises(ProviderError, match="does not answer as a Prefect server"):
        list(readiness.prefect_server(url, load()))


def test_without_a_server_nothing_is_scheduled_and_that_is_told(home: Path) -> None:
    (found,) = readiness.prefect_server("", load())
    assert (found.state, found.fix) == ("warn", "make ui")


@pytest.mark.slow
@pytest.mark.heavy
def test_setup_deploys_once_and_doctor_then_misses_only_the_worker(
    home: Path, migrated: Path
) -> None:
    shutil.copytree(migrated / "prefect", home / "prefect")
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "k"}
    kept = {"BRIGHTRUN_PREFECT_RESULTS": "s3://b/x", "AWS_SECRET_ACCESS_KEY": "s", **nobody}
    with shared_server(home) as url:

        def states(*command: str) -> dict[str, str]:
            told = brightrun(home, *command, "--prefect-url", url, "--json", **kept).json
            return {finding["name"]: finding["state"] for finding in told["findings"]}

        would, before = states("setup", "--dry-run"), states("doctor")
        made, again = states("setup"), states("setup")
        looked = states("doctor")
    prefect = ("work pool", "deployments", "automations")
    assert [would[name] for name in prefect] == ["todo"] * 3
    assert [made[name] for name in prefect] == ["done"] * 3
    assert set(again.values()) == {"ok"}
    assert [looked[name] for name in ("prefect", "deployments", "worker")] == ["ok", "ok", "fail"]
    results = ("result block", "result bucket")
    assert [[found[name] for name in results] for found in (before, looked)] == [
        ["fail", "fail"], ["ok", "fail"],
    ]  # fmt: skip
