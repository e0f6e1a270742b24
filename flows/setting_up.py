"""`brightrun setup`: make what is ours and missing; the second time there is nothing to do.

Each step says what it lacks before it makes it, so that --dry-run tells the same without making.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from brightrun import ledger_access, shelter
from brightrun.compute.runpod import templates
from brightrun.compute.runpod.provider import BY_DIGEST, RunPodProvider
from brightrun.errors import ConfigurationError
from brightrun.findings import Finding, State, attempted
from brightrun.ledger import Ledger
from brightrun.ledger_schema import REVISION
from brightrun.ledger_store import newer, standing
from brightrun.settings import Settings
from brightrun.shelves import Supabase, shelf_of
from flows import blocks, readiness, server

RULES = "row level security"
SHOWN = 5  # of the rules that are missing, by name
Step = tuple[Callable[[], str], Callable[[], object]]  # what it would make ("": it is there); make


def steps(settings: Settings) -> dict[str, Step]:
    """What needs no Prefect server, in the order in which it is made."""
    found: dict[str, Step] = {
        "ledger": (partial(ledger_lacks, settings), partial(Ledger.open, settings)),
        "storage": bucket(settings.storage),
        "prefect database": (partial(database_lacks, settings), partial(server.migrate, settings)),
    }
    if settings.share_url.startswith(("s3:", "file:")):
        found["shares"] = bucket(settings.share_url)
    elif settings.share_url:
        shelf = shelf_of(settings)
        if isinstance(shelf, Supabase):
            found["shares"] = (shelf.lacks, shelf.make)
    if settings.runpod_api_key is not None and BY_DIGEST.match(settings.runpod_image):
        account = RunPodProvider.of(settings, patient=False)
        asked = (account.rest, account.place)
        found["runpod template"] = (
            partial(templates.lacks, *asked), partial(templates.make, *asked),
        )  # fmt: skip
    return found


def bucket(url: str) -> Step:
    """A folder or bucket; one that may not be looked for or made is a finding that failed."""
    lacks = f"make {shelter.root(url)}"
    return (lambda: "" if shelter.is_there(url) else lacks, partial(shelter.make, url))


def ledger_lacks(settings: Settings) -> str:
    _, found = standing(settings)
    if found == REVISION:
        return ""
    if found is not None and found > REVISION:
        raise newer(found)
    return f"migrate it from {found} to {REVISION}" if found else f"make it at {REVISION}"


def database_lacks(settings: Settings) -> str:
    made = server.migrated(settings)
    return "" if made.exists() else f"make Prefect's database in {settings.prefect_home}"


def run(
    settings: Settings, prefect_url: str, secrets: Sequence[str], *, dry_run: bool
) -> Iterator[Finding]:
    """Each step as it is done; one that fails does not keep the next from being tried."""
    for name, step in steps(settings).items():
        yield from attempted(name, partial(taken, name, step, dry_run), secrets)
    if settings.database.startswith("postgres"):
        yield from attempted(RULES, partial(access, settings, dry_run), secrets)
    url = prefect_url or server.shared_url(settings)
    if url:
        look = partial(deployment, settings, url, dry_run)
        yield from attempted("deployments", look, secrets)
        if settings.prefect_results:
            at_server = partial(result_block, settings, url, dry_run)
            yield from attempted("result block", at_server, secrets)
    else:
        said = f"{readiness.NO_SERVER}; `make ui` deploys at its own start"
        yield Finding(name="deployments", state="skip", said=said)


def taken(name: str, step: Step, dry_run: bool) -> Iterator[Finding]:
    lacks, make = step
    if not (wanted := lacks()):
        yield Finding(name=name, state="ok", said="is there")
        return
    if dry_run:
        yield Finding(name=name, state="todo", said=f"would {wanted}")
        return
    make()
    yield Finding(name=name, state="done", said=wanted)


def access(settings: Settings, dry_run: bool) -> Iterator[Finding]:
    """Who signs in at a Supabase project sees what the rules say; the ledger comes before them."""
    if ledger_lacks(settings):
        yield Finding(name=RULES, state="skip", said="after the ledger is at its newest revision")
        return
    if not ledger_access.is_supabase(settings):
        said = "no Supabase project: who may connect to the database is its administrator's choice"
        yield Finding(name=RULES, state="skip", said=said)
        return
    lacking = ledger_access.lacking(settings)
    if not lacking:
        yield Finding(
            name=RULES, state="ok", said="grants, policies and views are as they should be"
        )
        return
    more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
    said = f"set {', '.join(lacking[:SHOWN])}{more}"
    if not dry_run:
        ledger_access.apply(settings)
    state: State = "todo" if dry_run else "done"
    yield Finding(name=RULES, state=state, said=f"would {said}" if dry_run else said)


def deployment(settings: Settings, url: str, dry_run: bool) -> Iterator[Finding]:
    """Work pool, deployments and automations at a server, where they are not as they should be."""
    lacking = readiness.missing(readiness.asked(url, settings))
    if not lacking:
        yield Finding(name="deployments", state="ok", said=f"{url} has all as prefect.yaml has it")
        return
    if dry_run:
        for name, said in lacking.items():
            yield Finding(name=name, state="todo", said=f"would mend: {said}")
        return
    deploy(settings, url, lacking)
    still = readiness.missing(readiness.asked(url, settings))
    for name, said in lacking.items():
        state: State = "fail" if name in still else "done"
        yield Finding(name=name, state=state, said=still.get(name, said))


def result_block(settings: Settings, url: str, dry_run: bool) -> Iterator[Finding]:
    """The block that workers keep Prefect's results with, at a server."""
    server.isolate(settings)
    os.environ["PREFECT_API_URL"] = url
    step = (partial(blocks.lacks, settings), partial(blocks.make, settings))
    yield from taken("result block", step, dry_run)


def deploy(settings: Settings, url: str, lacking: Mapping[str, str]) -> None:
    """By Prefect's own command line; its own profile and cloud workspace are left alone."""
    from flows.ui import automate, deploy_all, prefect

    server.isolate(settings)
    os.environ["PREFECT_API_URL"] = url
    if "work pool" in lacking:
        prefect("work-pool", "create", settings.pool, "--type", "process")
    if "deployments" in lacking:
        deploy_all(settings)
    if said := automate():
        raise ConfigurationError(said, fix="python -m flows.automations")
