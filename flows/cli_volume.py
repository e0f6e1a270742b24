"""Command setup volume: a network volume at RunPod with the base model and its NF4 copy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Gpu, Json

if TYPE_CHECKING:
    from brightrun.compute.runpod.provider import RunPodProvider
    from brightrun.settings import Settings
    from brightrun.volume import Plan


def volume(
    base_model: Annotated[str, typer.Option(help="A hub id. Default: runpod's base model.")] = "",
    gpu: Gpu = "",
    size_gb: Annotated[
        int, typer.Option(min=0, max=4096, help="At least so large. Default: what the model needs.")
    ] = 0,
    data_center: Annotated[
        str, typer.Option(help="Default: where the GPU is best in stock. For good.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made and cost, and make nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to the cost without being asked.")
    ] = False,
    json: Json = False,
) -> None:
    """Make or find the volume, have a pod fetch the base model and write its NF4 copy there.

    It costs money each month until you delete it in RunPod's console. It may run any number of
    times: what is there is kept. Example: `brightrun setup volume --dry-run`.
    """
    from brightrun import volume as volumes
    from brightrun.compute.runpod.provider import RunPodProvider
    from brightrun.settings import load

    settings = load()
    account = RunPodProvider.of(settings)
    wanted = volumes.plan(
        settings, account, base_model=base_model, gpu=gpu, size_gb=size_gb, data_center=data_center
    )
    about = facts_of(wanted)
    if not json:
        show(about)
    if not dry_run and not wanted.complete:
        agree(yes=yes)
        about = {**about, **made(settings, account, wanted)}
    if json:
        from flows.terminal import emit

        emit(about)


def facts_of(wanted: Plan) -> dict[str, Any]:
    """What is there and what would be made; usd_per_month: of the volume at its planned size."""
    return {
        "volume": wanted.volume.id if wanted.volume else "",
        "data_center": wanted.data_center,
        "size_gb": wanted.size_gb,
        "usd_per_month": float(wanted.usd_per_month),
        "lacking": list(wanted.lacks()),
        "copy_usd": {} if wanted.copied else {k: float(v) for k, v in wanted.usd.items()},
        "complete": wanted.complete,
    }


def show(about: dict[str, Any]) -> None:
    from flows.terminal import facts, money, tell

    cost = about["copy_usd"]
    pod = cost and f"{money(cost['low'])} to {money(cost['high'])} once: a guess, nobody timed it"
    facts(
        "Network volume",
        [
            ("id", about["volume"]),
            ("where", f"{about['data_center']}: all pods are rented there"),
            (
                "size",
                f"{about['size_gb']} GB, {money(about['usd_per_month'])} a month until deleted",
            ),
            ("pod for the copy", pod or ""),
        ],
    )
    for lacking in about["lacking"] or ["nothing is missing"]:
        tell(f"- {lacking}")


def agree(*, yes: bool) -> None:
    """Exit 3: somebody has to agree to the cost."""
    from flows.terminal import say

    if not (yes or (sys.stdin.isatty() and typer.confirm("Go on?", err=True))):
        say("Nothing was made. Agree to the cost with --yes.", "yellow")
        raise typer.Exit(3)


def made(settings: Settings, account: RunPodProvider, wanted: Plan) -> dict[str, Any]:
    """The volume, then the copy; each is written down as soon as it is there."""
    from brightrun import copying
    from brightrun import volume as volumes
    from brightrun.ledger import Ledger
    from flows.cli_decide import whoami
    from flows.lifecycle_ids import new_job_id
    from flows.terminal import say

    there = volumes.make(settings, account, wanted)
    say(f"Volume {there.id}, {there.size_gb} GB in {there.data_center}: in {settings.volume_file}")
    found: dict[str, Any] = {"volume": there.id, "lacking": [], "complete": True}
    if wanted.copied:
        return found
    settings = settings.model_copy(update={"runpod_volume": there.id})
    job = copying.begin(settings, Ledger.open(settings), wanted, new_job_id(), whoami())
    say(f"Job {job.job_id} makes the copy; `brightrun watch {job.job_id}` follows it")
    copy = copying.register(job, wanted.model, wanted.gpu, copying.drive(job, lambda attempt: None))
    say(f"{copy.folder}, {copy.gigabytes:.1f} GB: jobs on a GPU of that kind load it from now on")
    return {**found, "job_id": job.job_id, "copy": copy.model_dump(mode="json")}
