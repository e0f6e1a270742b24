"""The part of doctor that asks Prefect: its server, and what is deployed there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version

import httpx

from brightrun.errors import ProviderError
from brightrun.findings import Check, Finding
from brightrun.settings import Settings
from flows import deployed, server

NO_SERVER = "no Prefect server runs: the terminal's jobs start their own, nothing is scheduled"


def checks(prefect_url: str) -> dict[str, Check]:
    return {"prefect": partial(prefect_server, prefect_url)}


def prefect_server(prefect_url: str, settings: Settings) -> Iterator[Finding]:
    """The server, whether it is ours by version, and what is deployed there."""
    url = prefect_url or server.shared_url(settings)
    if not url:
        yield Finding(name="prefect", state="warn", said=NO_SERVER, fix="make ui")
        return
    gap = asked(url, settings.pool)
    if gap.version != version("prefect"):
        said = f"{url} runs Prefect {gap.version}, here is {version('prefect')}"
        yield Finding(name="prefect", state="warn", said=said, fix="install the pinned one there")
    else:
        yield Finding(name="prefect", state="ok", said=f"{url} answers, Prefect {gap.version}")
    again = "brightrun setup" + (f" --prefect-url {prefect_url}" if prefect_url else "")
    for name, lacking in missing(gap).items():
        yield Finding(name=name, state="fail", said=lacking, fix=again)
    if gap.complete:
        yield Finding(name="deployments", state="ok", said="all are as prefect.yaml has them")
    if not gap.worker:
        said = f"no worker takes runs of {gap.pool_name}"
        fix = "make ui, or: python -m flows.station with BRIGHTRUN_PREFECT_URL set"
        yield Finding(name="worker", state="fail", said=said, fix=fix)


def asked(url: str, pool: str) -> deployed.Gap:
    try:
        return deployed.gap(url, pool)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ProviderError(
            f"{url} does not answer as a Prefect server: {type(error).__name__}",
            fix="start it, or mend the address (it ends with /api)",
        ) from None


def missing(gap: deployed.Gap) -> dict[str, str]:
    """What a server lacks, by what it is."""
    found = {}
    if gap.pool:
        found["work pool"] = f"there is no {gap.pool_name}"
    if gap.deployments:
        found["deployments"] = f"missing or changed: {', '.join(gap.deployments)}"
    if gap.automations:
        found["automations"] = f"missing: {', '.join(gap.automations)}"
    return found
