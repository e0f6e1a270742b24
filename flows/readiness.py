"""The part of doctor for the floors above: Prefect's server and what is deployed there, judges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version

import httpx

from brightrun.doctor_services import tried
from brightrun.errors import ProviderError
from brightrun.findings import Check, Finding
from brightrun.settings import Settings
from evals.judge_names import HOMES
from evals.judge_wire import VERSION
from flows import blocks, deployed, server

SECONDS = 10.0
NO_SERVER = "no Prefect server runs: the terminal's jobs start their own, nothing is scheduled"


def checks(prefect_url: str) -> dict[str, Check]:
    return {
        "prefect": partial(prefect_server, prefect_url),
        "result block": partial(result_block, prefect_url),
        "result bucket": result_bucket,
        "judges": judges,
    }


def judges(settings: Settings, homes: Mapping[str, str] = HOMES) -> Iterator[Finding]:
    """Whether the vendors take the keys, by a list of their models: it costs nothing."""
    keys = {"openai": settings.openai_api_key, "anthropic": settings.anthropic_api_key}
    for vendor, key in keys.items():
        if key is None:
            continue
        secret, variable = key.get_secret_value(), f"BRIGHTRUN_{vendor.upper()}_API_KEY"
        if vendor == "openai":
            url, head = f"{homes[vendor]}/models", {"Authorization": f"Bearer {secret}"}
        else:
            url, head = f"{homes[vendor]}/v1/models", {"x-api-key": secret, **VERSION}
        try:
            status = httpx.get(url, headers=head, timeout=SECONDS).status_code
        except httpx.HTTPError as error:
            said, fix = f"{vendor} does not answer: {type(error).__name__}", "look again later"
            yield Finding(name="judges", state="warn", said=said, fix=fix)
            continue
        if status == 200:
            said = f"{vendor} takes the key; its credit is not told"
            yield Finding(name="judges", state="ok", said=said)
        elif status in (401, 403):
            said = f"{vendor} refuses the key ({status})"
            yield Finding(name="judges", state="fail", said=said, fix=f"set another {variable}")
        else:
            said = f"{vendor} answers {status}"
            yield Finding(name="judges", state="warn", said=said, fix="look again later")
    if settings.judge_api_key is not None:
        said = "BRIGHTRUN_JUDGE_API_KEY is not checked: its server is named with each --judge"
        yield Finding(name="judges", state="skip", said=said)
    elif not any(keys.values()):
        said = "no key: no language model of a vendor judges"
        fix = "set BRIGHTRUN_OPENAI_API_KEY or _ANTHROPIC_API_KEY"
        yield Finding(name="judges", state="skip", said=said, fix=fix)


def prefect_server(prefect_url: str, settings: Settings) -> Iterator[Finding]:
    """The server, whether it is ours by version, and what is deployed there."""
    url = prefect_url or server.shared_url(settings)
    if not url:
        yield Finding(name="prefect", state="warn", said=NO_SERVER, fix="make ui")
        return
    gap = asked(url, settings)
    if gap.version != version("prefect"):
        said = f"{url} runs Prefect {gap.version}, here is {version('prefect')}"
        yield Finding(name="prefect", state="warn", said=said, fix="install the pinned one there")
    else:
        yield Finding(name="prefect", state="ok", said=f"{url} answers, Prefect {gap.version}")
    for name, lacking in missing(gap).items():
        yield Finding(name=name, state="fail", said=lacking, fix=again(prefect_url))
    if gap.complete:
        yield Finding(name="deployments", state="ok", said="all are as prefect.yaml has them")
    if not gap.worker:
        said = f"no worker takes runs of {gap.pool_name}"
        fix = "make ui, or: python -m flows.station with BRIGHTRUN_PREFECT_URL set"
        yield Finding(name="worker", state="fail", said=said, fix=fix)


def result_block(prefect_url: str, settings: Settings) -> Iterator[Finding]:
    """The block of Prefect's results at its server, where there is to be one."""
    url = prefect_url or server.shared_url(settings)
    if not settings.prefect_results or not url:
        return
    block = blocks.wanted(settings)
    place = f"{url}/block_types/slug/s3-bucket/block_documents/name/{blocks.NAME}"
    answer = httpx.get(place, timeout=SECONDS)
    there = {} if answer.status_code == 404 else answer.raise_for_status().json()["data"]
    wanted = {"bucket_name": block.bucket_name, "bucket_folder": block.bucket_folder}
    if wanted.items() <= there.items():
        said = f"{blocks.SLUG} is for {settings.prefect_results}"
        yield Finding(name="result block", state="ok", said=said)
    else:
        said = f"no {blocks.SLUG} for {settings.prefect_results}"
        yield Finding(name="result block", state="fail", said=said, fix=again(prefect_url))


def result_bucket(settings: Settings) -> Iterator[Finding]:
    """Its bucket, with this machine's keys."""
    if settings.prefect_results:
        yield tried("result bucket", settings.prefect_results.rstrip("/"))


def again(prefect_url: str) -> str:
    return "brightrun setup" + (f" --prefect-url {prefect_url}" if prefect_url else "")


def asked(url: str, settings: Settings) -> deployed.Gap:
    try:
        return deployed.gap(url, settings)
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
