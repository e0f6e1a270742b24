"""An account at the fake RunPod, and our provider pointed at it."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from fakes.clock import ManualClock
from fakes.runpod import Contract, FakeRunPod
from fakes.runpod.market import GpuKind
from fakes.runpod.market import Market as Stock
from fakes.runpod.server import KEY
from pydantic import SecretStr

from brightrun.clock import Clock
from brightrun.compute.provider import LaunchRequest, Offer
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.graphql import GraphQl
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.provider import RunPodProvider, manners
from brightrun.context import JobContext, driver_name
from brightrun.jobs import JobRequest, Market
from brightrun.ledger import AttemptRow, Ledger
from brightrun.settings import Settings

IMAGE = "ghcr.io/brightrun/trainer@sha256:" + "a" * 64
SECRETS = {"pod_storage_key_id": "AKpod", "pod_storage_secret": "s3cret-of-pods"}
POD_SCRIPT = Path(__file__).parent / "fakes/runpod/pod_script.py"
MANNERS = manners(Settings.model_construct())  # as shipped


def sleeper(environment: dict[str, str]) -> tuple[Sequence[str], dict[str, str]]:
    """A pod that does nothing and obeys SIGTERM."""
    return ("sleep", "60"), environment


def heartbeats(environment: dict[str, str]) -> tuple[Sequence[str], dict[str, str]]:
    """The smallest pod that writes into its run folder."""
    return (sys.executable, "-S", "-E", str(POD_SCRIPT)), environment


@contextmanager
def account(clock: Clock | None = None, entry: Any = sleeper, **fake: Any) -> Iterator[FakeRunPod]:
    """A fake that judges by the contract where its file is here; no breach goes unseen."""
    with FakeRunPod(entry, clock or ManualClock(), contract=Contract.load(), **fake) as found:
        yield found
    assert found.violations == []


def client(fake: FakeRunPod, url: str = "", **more: Any) -> Client:
    more = {"clock": fake.clock, "jitter": random.Random(1), **more}
    return Client(url or fake.url, SecretStr(KEY), **more)


def provider(fake: FakeRunPod, place: Place | None = None, **more: Any) -> RunPodProvider:
    """Built as `RunPodProvider.of` builds it: only the REST API is asked again."""
    return RunPodProvider(
        client(fake, **more),
        GraphQl(client(fake, fake.graphql_url, **{**more, "patient": False})),
        place or Place(image=IMAGE),
        MANNERS,
        fake.clock,
    )


def offer(
    rented_from: RunPodProvider, gpu: str = "NVIDIA H100 PCIe", market: str = "on_demand"
) -> Offer:
    return next(
        o
        for o in rented_from.offers()
        if o.gpu == gpu and o.market == Market(market) and o.data_center
    )


def wanted(taken: Offer, name: str = "br-job-1-1-abc", **secrets: str) -> LaunchRequest:
    return LaunchRequest(
        name=name,
        environment={"BRIGHTRUN_POD": name},
        secrets={k: SecretStr(v) for k, v in secrets.items()},
        offer=taken,
    )


# --- a job that rents there ---------------------------------------------------------------------
SPEC = {
    "base_model": {"name": "tiny", "sha256": "a" * 64, "context": 8192, "template": "chatml"},
    "data": {
        "name": "f", "source_sha256": "a", "train_sha256": "b", "validation_sha256": "c",
        "train_conversations": 4, "validation_conversations": 1, "supervised_pairs": 8,
        "train_tokens": 100, "supervised_tokens": 50,
    },
    "values": {}, "plan_sha256": "p", "threads": 2,
}  # fmt: skip


def estimate(usd: float = 2.39, market: str = "on_demand", **more: Any) -> dict[str, Any]:
    """An estimate of a job of about ten dollars, as the gate saw it."""
    return {
        "price": {"usd_per_hour": usd, "source": "test", "as_of": "2026-11-22"},
        "market": market,
        "stage_seconds": {"training": 3.0},
        "cost_usd": {"low": 8.0, "likely": 10.0, "high": 14.0},
        "vram_gb": 72.0,
        **more,
    }


@cache
def empty_ledger() -> bytes:
    """A migrated ledger: the migration is the costly part of a job."""
    with tempfile.TemporaryDirectory() as place:
        Ledger.open(Settings(home=Path(place))).close()
        return (Path(place) / "ledger.db").read_bytes()


def job_on(home: Path, rents: RunPodProvider, **settings: Any) -> JobContext:
    """A planned and claimed job at this account; its pods see the storage as it is here."""
    storage = (home / "storage").as_uri()
    known = Settings(home=home, **{"pod_storage_url": storage, **settings})
    home.mkdir(parents=True)
    (home / "ledger.db").write_bytes(empty_ledger())
    ledger = Ledger.open(known)
    ledger.create_job("job-1", JobRequest(training_file="x.json", provider="runpod"))
    ledger.claim("job-1", driver_name())
    job = JobContext(known, ledger, "job-1")
    vars(job).update(provider=rents, clock=rents.clock)
    job.folder.write_json("spec.json", {"spec": SPEC})
    job.folder.write_json("estimate.json", estimate())
    job.folder.write_json("gate.json", {"hard_limit_usd": 17.5})
    return job


def kind(gpu: str, price: float, **stock: int) -> GpuKind:
    places = {name.replace("_", "-"): n for name, n in stock.items()}
    return GpuKind(gpu, 80, price, 0.0, None, places)


def two_places() -> Stock:
    """PCIe in two places and, dearer, SXM."""
    return Stock(
        [
            kind("NVIDIA H100 PCIe", 2.39, US_KS_2=3, EU_RO_1=6),
            kind("NVIDIA H100 80GB HBM3", 2.99, US_CA_2=8),
            kind("NVIDIA A100 80GB PCIe", 1.64, US_KS_2=2),
        ]
    )


def row(job: JobContext, number: int = 1) -> AttemptRow:
    return job.ledger.attempts("job-1")[number - 1]


def cost(job: JobContext, number: int = 1) -> Decimal:
    usd = row(job, number).cost_usd
    assert usd is not None
    return usd


def notes(job: JobContext, type_: str) -> list[str]:
    return [str(e.payload["message"]) for e in job.ledger.events("job-1", 0, type_)]
