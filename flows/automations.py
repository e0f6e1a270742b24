"""Prefect's automations, from deployments/automations.yaml; applying them again changes nothing.

Run by hand against PREFECT_API_URL: `python -m flows.automations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import Automation, AutomationCore

from flows.deployed import AUTOMATIONS

OURS = "brightrun: "


def read(ids: Mapping[str, UUID]) -> list[AutomationCore]:
    """The file's automations. ids: of the deployments that they start, by `flow/deployment`."""
    found = []
    for entry in yaml.safe_load(AUTOMATIONS.read_text("utf-8")):
        facts: dict[str, Any] = dict(entry)
        started = ids[facts.pop("deployment")]
        action = {"type": "run-deployment", "source": "selected", "deployment_id": started}
        found.append(AutomationCore.model_validate({**facts, "actions": [action]}))
    return found


def started() -> set[str]:
    """The deployments that the file names."""
    return {entry["deployment"] for entry in yaml.safe_load(AUTOMATIONS.read_text("utf-8"))}


def apply(client: SyncPrefectClient) -> list[str]:
    """Create what is missing, replace what differs, remove what is ours and not in the file.

    Returns what was done; empty: nothing.
    """
    ids = {name: client.read_deployment_by_name(name).id for name in started()}
    wanted = {automation.name: automation for automation in read(ids)}
    known = [a for a in client.read_automations() if a.name.startswith(OURS)]
    done = []
    for name, automation in wanted.items():
        mine = [a for a in known if a.name == name]
        if not mine:
            client.create_automation(automation)
            done.append(f"created {name}")
        elif differs(mine[0], automation):
            client.update_automation(mine[0].id, automation)
            done.append(f"changed {name}")
    done += remove(client, known, wanted)
    return done


def remove(
    client: SyncPrefectClient, known: Sequence[Automation], wanted: Mapping[str, AutomationCore]
) -> list[str]:
    """Ours that the file does not have, and second ones of a name."""
    done, seen = [], set()
    for automation in known:
        if automation.name not in wanted or automation.name in seen:
            client.delete_automation(automation.id)
            done.append(f"removed {automation.name}")
        seen.add(automation.name)
    return done


def differs(known: Automation, wanted: AutomationCore) -> bool:
    """Whether what counts is not the same; the server adds ids of its own. Events are sets: their
    order, which differs from process to process, says nothing."""
    fields = {"description", "enabled", "trigger", "actions"}
    drop = {"trigger": {"id"}}
    mine = wanted.model_dump(include=fields, exclude=drop)
    return known.model_dump(include=fields, exclude=drop) != mine


def main() -> None:
    with get_client(sync_client=True) as client:
        for line in apply(client) or ["nothing to change"]:
            print(line)


if __name__ == "__main__":
    main()
