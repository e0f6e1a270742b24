"""What is deployed at a Prefect server, beside what prefect.yaml and automations.yaml ask for.

Asked over HTTP, without importing Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import yaml

from brightrun.frozen import Frozen
from brightrun.settings import CHECKOUT, Settings
from flows.worker import POOL

ASKED = CHECKOUT / "prefect.yaml"
AUTOMATIONS = CHECKOUT / "deployments" / "automations.yaml"
NIGHTLY = 'cron: "0 2 * * *"\n'  # 02:00, as BRIGHTRUN_NIGHTLY_AT is shipped
SECONDS = 10.0
MOST = 200


class Gap(Frozen):
    """What the server lacks or has otherwise; worker: whether one takes runs of the pool."""

    version: str
    pool_name: str = POOL
    pool: bool = False
    deployments: tuple[str, ...] = ()
    automations: tuple[str, ...] = ()
    worker: bool = True

    @property
    def complete(self) -> bool:
        return not (self.pool or self.deployments or self.automations)


def gap(api_url: str, settings: Settings) -> Gap:
    """httpx.HTTPError: the server does not answer."""
    pool_name = settings.pool
    with httpx.Client(base_url=api_url.rstrip("/"), timeout=SECONDS) as client:

        def asked(method: str, path: str, body: Any = None) -> Any:
            return client.request(method, path, json=body).raise_for_status().json()

        there = asked("POST", "/deployments/filter", {"limit": MOST})
        rules = asked("POST", "/automations/filter", {"limit": MOST})
        answer = client.get(f"/work_pools/{pool_name}")
        pool = None if answer.status_code == 404 else answer.raise_for_status().json()
        return Gap(
            version=str(asked("GET", "/admin/version")),
            pool_name=pool_name,
            pool=pool is None,
            deployments=differing({found["name"]: facts_there(found) for found in there}, settings),
            automations=tuple(sorted(automations() - {found["name"] for found in rules})),
            worker=pool is not None and pool.get("status") == "READY",
        )


def asked_in(settings: Settings) -> str:
    """prefect.yaml with an environment's work pool, its time zone and the hour of its nights."""
    hour, minute = map(int, settings.nightly_at.split(":"))
    own = {
        f"name: {POOL}\n": f"name: {settings.pool}\n",
        "timezone: UTC\n": f"timezone: {settings.time_zone}\n",
        NIGHTLY: f'cron: "{minute} {hour} * * *"\n',
    }
    text = ASKED.read_text("utf-8")
    for shipped, mine in own.items():
        text = text.replace(shipped, mine)
    return text


def differing(there: Mapping[str, Mapping[str, Any]], settings: Settings) -> tuple[str, ...]:
    """Names of the deployments that are not there, or not as prefect.yaml has them."""
    wanted = yaml.safe_load(asked_in(settings))["deployments"]
    return tuple(one["name"] for one in wanted if there.get(one["name"]) != facts_asked(one))


def schedule(one: Mapping[str, Any]) -> str:
    """A schedule in one line; those by rules, which we have none of, are equal to no other."""
    if one.get("cron"):
        return f"{one['cron']} {one.get('timezone') or ''}".strip()
    return str(float(one["interval"]) if one.get("interval") else dict(one))


def facts_asked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how a deployment runs, as prefect.yaml says it."""
    return {
        "entrypoint": entry["entrypoint"],
        "pool": entry["work_pool"]["name"],
        "schedules": sorted(map(schedule, entry.get("schedules", ()))),
        "at_once": entry.get("concurrency_limit", {}).get("limit"),
    }


def facts_there(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same as the server answers it."""
    schedules = [one["schedule"] for one in found.get("schedules") or ()]
    limit = found.get("global_concurrency_limit") or {}
    return {
        "entrypoint": found.get("entrypoint"),
        "pool": found.get("work_pool_name"),
        "schedules": sorted(map(schedule, schedules)),
        "at_once": limit.get("limit"),
    }


def automations() -> set[str]:
    """The names of our automations."""
    return {one["name"] for one in yaml.safe_load(AUTOMATIONS.read_text("utf-8"))}
