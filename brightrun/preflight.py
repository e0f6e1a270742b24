"""What must be true before a pod is rented: looked at for nothing, all failures at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import fsspec
from pydantic import SecretStr

from brightrun import basemodels, podcredentials, quotes, reachable, shelter
from brightrun.compute.provider import LaunchRequest
from brightrun.context import JobContext
from brightrun.errors import ConfigurationError, ProviderError, StorageError
from brightrun.jobs import BaseModelRef
from brightrun.money import shown
from brightrun.placing import Rented
from brightrun.podenv import storage_url
from brightrun.settings import Settings
from brightrun.storagefaults import classify

S3_NAMES = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
}


def require(
    job: JobContext, wanted: LaunchRequest, estimate: Mapping[str, Any], rented: Rented
) -> None:
    """ConfigurationError with everything that stands in the way, each with its fix.

    What may be there again in some minutes stands in nobody's way: a StorageError or ProviderError,
    which is waited out, when nothing else is wrong.
    """
    refuse(job, failures(job, wanted, estimate, rented))


def require_ours(job: JobContext, wanted: LaunchRequest, estimate: Mapping[str, Any]) -> None:
    """The same without what only an offer can tell: before a wait for a free machine."""
    refuse(job, ours(job, wanted, estimate))


def require_memory(job: JobContext, estimate: Mapping[str, Any]) -> None:
    """For a pod on this machine, which has what it has."""
    refuse(job, own_memory(job, estimate))


def require_storage(job: JobContext, wanted: LaunchRequest) -> None:
    """For a pod on this machine and a storage elsewhere: it has none of our keys either."""
    if not job.folder.is_local:
        refuse(job, storage(job.settings, job.job_id, wanted.secrets))


def refuse(job: JobContext, failures: Iterable[str]) -> None:
    """ConfigurationError when there is any failure; the storage, asked last, may raise its own."""
    found = []
    try:
        for failure in failures:
            found.append(failure)
    except StorageError as away:
        if not found:
            raise
        found.append(f"{away.message}; {away.fix}")
    if not found:
        return
    lines = "\n".join(f"  - {line}" for line in found)
    raise ConfigurationError(
        f"job {job.job_id} cannot be sent to {job.request.provider} yet:\n{lines}",
        fix=f"mend these, then `brightrun train --resume {job.job_id}`; nothing was rented",
    )


def failures(
    job: JobContext, wanted: LaunchRequest, estimate: Mapping[str, Any], rented: Rented
) -> Iterator[str]:
    """Volume, memory and credit, then what is ours. ProviderError: it cannot be asked now."""
    yield from job.provider.unready(wanted)
    yield from memory(estimate, rented)
    high = Decimal(str(estimate["cost_usd"]["high"]))
    yield from credit(job, high, rented.usd_per_hour)
    yield from ours(job, wanted, estimate)


def ours(job: JobContext, wanted: LaunchRequest, estimate: Mapping[str, Any]) -> Iterator[str]:
    """Model, image, budget and storage: what no provider has to be asked for."""
    if more := podcredentials.warning(job.settings, storage_url(job.settings)):
        doubt(job, more)
    if said := quotes.unpackable(job.spec.values, job.request.provider):
        doubt(job, said, "packing_unsupported")
    yield from model(job.spec.base_model)
    yield from reach(job)
    limit = job.ledger.job(job.job_id).hard_limit_usd
    if limit is not None:
        left = limit - job.ledger.cost_so_far(job.job_id, job.clock.now())
        yield from budget(left, Decimal(str(estimate["cost_usd"]["likely"])))
    yield from storage(job.settings, job.job_id, wanted.secrets)


def storage(settings: Settings, job_id: str, credentials: Mapping[str, SecretStr]) -> Iterator[str]:
    """Write, read and remove with the pod's own credentials, where the pod will do it.

    StorageError: it is away, which may pass.
    """
    url = storage_url(settings)
    if url.startswith("file:") and not settings.pod_storage_url:
        yield (
            f"the storage {url} is a folder of this machine, which a rented pod cannot see; "
            "set STORAGE_URL=s3://..., or BRIGHTRUN_POD_STORAGE_URL if the pod sees it elsewhere"
        )
        return
    options: dict[str, Any] = {
        S3_NAMES[name]: value.get_secret_value()
        for name, value in credentials.items()
        if name in S3_NAMES
    }
    if url.startswith("s3:"):
        if "key" not in options or "secret" not in options:
            yield (
                "there are no storage credentials for pods; set BRIGHTRUN_POD_STORAGE_KEY_ID and "
                "_SECRET (and _TOKEN): short-lived ones for jobs/ only, not the account's"
            )
            return
        options["endpoint_url"] = settings.pod_storage_endpoint or None
        options |= shelter.hasty(url)
    else:
        options = {"auto_mkdir": True} if url.startswith("file:") else {}
    place = f"{url}/jobs/{job_id}/control/preflight-{secrets.token_hex(4)}.txt"
    if problem := round_trip(f"a pod cannot write, read and remove in {url}", place, options):
        yield problem


def round_trip(what: str, place: str, options: Mapping[str, Any]) -> str:
    """Write, read and remove an object; "" or: `what`, why, and how it is mended.

    StorageError: the storage is away, which says nothing about it.
    """
    written = secrets.token_bytes(16)
    try:
        fs, path = fsspec.core.url_to_fs(place, **options)
        fs.pipe_file(path, written)
        back = fs.cat_file(path)
        fs.rm_file(path)
    except Exception as error:
        trouble = classify(error)
        if trouble is None:
            return f"{what}: {type(error).__name__}; mend STORAGE_URL or the credentials"
        if not trouble.lasting:
            raise trouble.error(what) from error
        found = trouble.error(what)
        return f"{found.message}; {found.fix}"
    if back != written:
        return f"{what}: it gives back other bytes than were written; use another one"
    return ""


def model(reference: BaseModelRef) -> Iterator[str]:
    """A hub model that is not pinned may be another one tomorrow."""
    hub = basemodels.HUB_ID.fullmatch(reference.name) and reference.name not in basemodels.ALIASES
    if hub and not reference.revision:
        yield (
            f"the base model {reference.name} is not pinned to a revision; start a new job "
            f"with --base-model {reference.name.partition('@')[0]}@REVISION"
        )
    if not reference.sha256:
        yield f"the weights of {reference.name} have no known sha256; prepare the model again"


def reach(job: JobContext) -> Iterator[str]:
    """The image in its registry, a hub model at its pinned revision, as the pod will ask for them.

    What cannot be found out from here becomes a warning.
    """
    settings, base = job.settings, job.spec.base_model
    if "@sha256:" in settings.runpod_image:
        stops, doubtful = image(settings)
        if stops:
            yield stops
        if doubtful:
            doubt(job, doubtful)
    if basemodels.HUB_ID.fullmatch(base.name) and base.revision:
        found = reachable.model(settings.hub_url, base.name, base.revision, settings.pod_hub_token)
        if found.reach == "missing":
            yield f"the hub has no {base.name} at revision {base.revision}; pin one that it has"
        elif found.reach == "denied":
            doubt(
                job,
                f"{base.name} is gated for pods ({found.said}): it must be on the volume, or "
                "BRIGHTRUN_POD_HUB_TOKEN be one that may read it",
            )
        elif found.reach != "there":
            doubt(job, f"whether the hub gives {base.name} is not known from here: {found.said}")


def image(settings: Settings) -> tuple[str, str]:
    """What keeps pods from the trainer's image, with its mend, and what is not known; "" each."""
    name = settings.runpod_image
    found = reachable.image(name, settings.registry_user, settings.registry_token)
    if found.reach == "there":
        return "", ""
    if found.reach == "missing":
        return f"the registry has no image {name}; push it, or mend BRIGHTRUN_RUNPOD_IMAGE", ""
    if found.reach == "denied" and not settings.runpod_registry:
        return (
            f"the registry does not give {name} to everybody ({found.said}); set "
            "BRIGHTRUN_RUNPOD_REGISTRY to RunPod's id of a credential, or publish the image"
        ), ""
    return "", f"whether {name} can be pulled is not known from here: {found.said}"


def doubt(job: JobContext, message: str, code: str = "preflight") -> None:
    """What a person should know, and no reason to stop; said once, however long the wait is."""
    said = job.ledger.events(job.job_id, attempt=0, type="warning")
    if not any(event.payload.get("message") == message for event in said):
        job.note("warning", {"code": code, "message": message})


def memory(estimate: Mapping[str, Any], rented: Rented) -> Iterator[str]:
    needed = float(estimate["vram_gb"])
    there = rented.offer.memory_gb if rented.offer is not None else None
    if there is not None and needed > there:
        yield (
            f"about {needed:.0f} GB of GPU memory are needed, {rented.gpu} has {there:.0f}; "
            "lower max_length or lora_r, or use a larger GPU"
        )


def own_memory(job: JobContext, estimate: Mapping[str, Any]) -> Iterator[str]:
    """`memory` for this machine."""
    there = quotes.machine_for(job.request.provider, job.request.gpu, job.settings).memory_gb
    needed = float(estimate["vram_gb"])
    if there is not None and needed > there:
        yield (
            f"about {needed:.0f} GB of memory are needed, this machine has {there:.0f}; start a "
            "new job with a smaller base model or max_length, or with --provider runpod"
        )


def credit(job: JobContext, high: Decimal, usd_per_hour: Decimal) -> Iterator[str]:
    """RunPod stops every pod of an account without credit, and starts none without an hour's."""
    try:
        balance = job.provider.balance()
    except ProviderError as error:
        balance = None
        doubt(job, f"no balance: {error.message}", error.code)
    if balance is None:
        said = "the account's balance is not known; see that it covers the high estimate"
        doubt(job, said, "balance_unknown")
        return
    needed = max(high, usd_per_hour)
    if balance.usd < needed:
        yield (
            f"the account has {shown(balance.usd)} of credit, the job may cost {shown(high)} and a "
            f"pod needs {shown(usd_per_hour)} to start; add {shown(needed - balance.usd)}"
        )


def budget(left: Decimal, likely: Decimal) -> Iterator[str]:
    if left < likely:
        yield (
            f"{shown(max(Decimal(0), left))} of the job's limit are left, it will likely cost "
            f"{shown(likely)}; raise the month's budget or approve it with --override-budget"
        )
