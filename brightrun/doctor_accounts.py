"""What doctor asks of accounts and limits: the model hub, the place of shares, the month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from brightrun import basemodels, copies, reachable, shelter
from brightrun.doctor_services import MAKE, tried
from brightrun.findings import Finding
from brightrun.ledger import Ledger
from brightrun.ledger_schema import REVISION
from brightrun.ledger_store import standing
from brightrun.money import shown
from brightrun.settings import Settings
from brightrun.shelves import Supabase, shelf_of

LICENCE = "accept the licence on the model's page, make a read-only token, set it as "


def hub(settings: Settings) -> Iterator[Finding]:
    """Whether the hub gives pods the default model of RunPod: licence and token."""
    name = settings.runpod_base_model
    if settings.runpod_api_key is None or "@" not in name or not basemodels.HUB_ID.fullmatch(name):
        return
    revision = name.partition("@")[2]
    found = reachable.model(settings.hub_url, name, revision, settings.pod_hub_token)
    made = copies.read(settings.volume_file)
    volume = made.copies if made and made.id == settings.volume else ()
    if found.reach == "there":
        said = f"gives pods {name}" + (" for their token" if settings.pod_hub_token else "")
        yield Finding(name="model hub", state="ok", said=said)
    elif name in (copy.model for copy in volume):
        said = f"does not give pods {name} ({found.said}); none needs it, the volume has a copy"
        yield Finding(name="model hub", state="ok", said=said)
    elif found.reach == "denied":
        said = f"does not give pods {name} ({found.said}): it is gated"
        fix = f"{LICENCE}BRIGHTRUN_POD_HUB_TOKEN"
        yield Finding(name="model hub", state="fail", said=said, fix=fix)
    elif found.reach == "missing":
        said = f"has no {name}"
        fix = "mend BRIGHTRUN_RUNPOD_BASE_MODEL, or BRIGHTRUN_POD_HUB_TOKEN of a private model"
        yield Finding(name="model hub", state="fail", said=said, fix=fix)
    else:
        said = f"whether it gives pods {name} is not known from here: {found.said}"
        yield Finding(name="model hub", state="warn", said=said, fix="look again later")


def shares(settings: Settings) -> Iterator[Finding]:
    """Where shares lie: written to, read and removed, of Supabase only looked for."""
    url = settings.share_url.rstrip("/")
    if not url:
        said = "no place: a share is a folder of this machine, and no link"
        yield Finding(name="shares", state="skip", said=said, fix="set BRIGHTRUN_SHARE_URL")
        return
    shelf = shelf_of(settings)  # ConfigurationError: it cannot be used
    if isinstance(shelf, Supabase):
        lacking = shelf.lacks()
    else:
        lacking = "" if shelter.is_there(url) else f"{shelter.root(url)} is not made yet"
    if lacking:
        yield Finding(name="shares", state="fail", said=lacking, fix=MAKE)
    elif isinstance(shelf, Supabase):
        yield Finding(name="shares", state="ok", said=f"{url} is there; nothing was written")
    else:
        yield tried("shares", url)


def month(settings: Settings) -> Iterator[Finding]:
    """What this month still gives jobs, and how many GPUs they may have at once."""
    if standing(settings)[1] == REVISION:
        state = Ledger.open(settings).budget_state(datetime.now(UTC))
        said = f"{shown(state.spent)} spent, {shown(state.committed)} held of {shown(state.limit)}"
        if state.left > 0:
            yield Finding(name="month", state="ok", said=f"{said} in {state.month}")
        else:
            fix = "brightrun budget raise USD --reason WHY: until then no job starts"
            yield Finding(name="month", state="warn", said=f"{said} in {state.month}", fix=fix)
    if settings.runpod_api_key is None:
        return
    if settings.gpu_quota:
        said = f"at most {settings.gpu_quota} jobs with a GPU at once; RunPod's own is not checked"
        yield Finding(name="quota", state="ok", said=said)
    else:
        said = "no limit of jobs with a GPU at once; RunPod's own is not checked: its API has none"
        fix = "set BRIGHTRUN_GPU_QUOTA to what RunPod's console says of your account"
        yield Finding(name="quota", state="skip", said=said, fix=fix)
