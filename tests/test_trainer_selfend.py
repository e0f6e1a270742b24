"""A pod at RunPod whose driver is dead asks for its own end: its process's end would only start it
again, and it would bill for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.server import KEY
from runpod_rentals import IMAGE, account, offer, provider, wanted

from brightrun.compute.runpod.pods import Place
from trainer import selfend
from trainer.selfend import PATIENCE_SECONDS, PAUSE_SECONDS

NAME = "br-job-1-1-abc"


class Over(Exception):
    """The test has seen enough."""


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def stays(fake: FakeRunPod, **other: str) -> list[float]:
    """The waits of a pod with what our provider and RunPod tell it, until it has ended itself."""
    place = Place(image=IMAGE, rest_url=fake.url, graphql_url=fake.graphql_url)
    rents = provider(fake, place)
    pod = rents.launch(wanted(offer(rents)))
    sent = next(b for m, p, b in fake.requests if (m, p) == ("POST", "/v2/pods"))
    environ = {**sent["env"], "RUNPOD_POD_ID": pod.provider_id, "RUNPOD_API_KEY": KEY, **other}
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        if not fake.account.alive() or len(waits) == 9:
            raise Over
        waits.append(seconds)

    with pytest.raises(Over):
        selfend.stay(environ, sleep)
    return waits


def test_a_pod_that_nobody_ends_asks_for_its_own_end() -> None:
    with account() as fake:
        assert stays(fake) == [PATIENCE_SECONDS]
        assert fake.account.alive() == []


@pytest.mark.parametrize("fault", ["delete_500", "delete_ignored", "delete_404"])
def test_where_one_way_fails_it_tries_the_next(fault: str) -> None:
    with account(mischief=Mischief({"delete": [fault]})) as fake:
        assert stays(fake) == [PATIENCE_SECONDS, PAUSE_SECONDS]
        assert fake.account.alive() == []


def test_a_refused_pod_goes_on_trying_and_gives_no_key_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = tmp_path / "runpodctl"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with account() as fake:
        assert len(stays(fake, RUNPOD_API_KEY="rpa_wrong_1234")) == 9
        (pod,) = fake.account.pods.values()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"remove pod {pod.id}"] * 3
    said = capsys.readouterr().out
    assert "by_rest: refused: HTTPError 401" in said
    assert "rpa_wrong" not in said
