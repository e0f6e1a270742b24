"""An account at the fake RunPod, and our provider pointed at it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.clock import ManualClock
from fakes.runpod import Contract, FakeRunPod
from fakes.runpod.server import KEY
from pydantic import SecretStr

from brightrun.clock import Clock
from brightrun.compute.provider import LaunchRequest, Manners, Offer
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.graphql import GraphQl
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.jobs import Market

IMAGE = "ghcr.io/brightrun/trainer@sha256:" + "a" * 64
POD_SCRIPT = Path(__file__).parent / "fakes/runpod/pod_script.py"
MANNERS = Manners(second_look_s=15.0, gone_gap_s=60.0, lease_s=900, far_away=True)


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
    return RunPodProvider(
        client(fake, **more),
        GraphQl(client(fake, fake.graphql_url, **more)),
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
