"""The whole way at a RunPod: rent, lose three pods at bad moments, switch, come to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import (
    brightrun,
    finish,
    furnish,
    ledger,
    run_folder,
    shared_server,
    small_file,
    start,
    steps,
    told_job,
    train_options,
)
from fakes.runpod import FakeRunPod
from runpod_flow import books, half_stored, take_away, told, trainers
from waiting import until

from brightrun.runfolder import RunFolder

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

# So many that a quick machine still trains when the market has been switched.
OPTIONS = train_options(epochs=18, scenarios=8, questions=8)
MOST_TRIES = 5


@dataclass
class Story:
    """What came of a job, and how its pods were lost."""

    home: Path
    job_id: str
    result: dict[str, Any]
    undisturbed: dict[str, Any]
    fake: FakeRunPod
    lost_in: list[str]

    @property
    def folder(self) -> RunFolder:
        return run_folder(self.home, self.job_id)


def current(home: Path, job_id: str, after: int) -> int:
    """The number of the first attempt after this one that has told a step or more than that."""
    return next(
        (n for n in run_folder(home, job_id).attempts() if n > after and told(home, job_id, n,
         "stage")), 0
    )  # fmt: skip


def strike_while_uploading(home: Path, job_id: str, fake: FakeRunPod, lost_in: list[str]) -> int:
    """Take pods away as soon as a checkpoint has files and no manifest; the last attempt lost."""
    attempt = 0
    for _ in range(MOST_TRIES):
        attempt = until(lambda after=attempt: current(home, job_id, after), what="a new pod")
        complete = len(run_folder(home, job_id).checkpoints())
        until(
            lambda n=complete, a=attempt: (
                len(run_folder(home, job_id).checkpoints()) > n
                and steps(run_folder(home, job_id), a)
            ),
            what="a checkpoint of this pod",
        )
        until(lambda: half_stored(home, job_id), what="an upload")
        take_away(fake)
        hit = bool(half_stored(home, job_id))
        lost_in.append("upload" if hit else "training")
        if hit:
            return attempt
    raise AssertionError(f"no kill hit an upload: {lost_in}")


@pytest.fixture(scope="module")
def story(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    place = tmp_path_factory.mktemp("rented")
    home, file = furnish(place / "home", models), small_file(place)
    with shared_server(home), trainers(home) as (fake, account):
        wish = (str(file), *OPTIONS, "--yes", "--json")
        flow = start(home, "train", *wish, "--provider", "runpod", "--market", "spot", **account)
        job_id = told_job(flow)
        lost_in: list[str] = []
        last = strike_while_uploading(home, job_id, fake, lost_in)

        attempt = until(lambda: current(home, job_id, last), what="a pod after the upload")
        until(lambda: steps(run_folder(home, job_id), attempt), what="a new step")
        said = brightrun(home, "switch", job_id, "on_demand", "--json", **account)
        assert said.code == 0, said.err
        attempt = until(lambda n=attempt: current(home, job_id, n), what="a pod on demand")
        until(lambda n=attempt: steps(run_folder(home, job_id), n), what="its first step")
        take_away(fake)
        lost_in.append("training")

        measuring = until(lambda n=attempt: current(home, job_id, n), what="another pod")
        until(
            lambda n=measuring: any(
                p.get("stage") == "measuring" for p in told(home, job_id, n, "progress")
            ),
            what="a measured item",
        )
        take_away(fake)
        lost_in.append("measuring")
        done = finish(flow)
        assert done.code == 0, done.err
        plain = brightrun(home, "train", *wish)
        assert plain.code == 0, plain.err
        yield Story(home, job_id, done.json, plain.json, fake, lost_in)


def test_it_completes_with_the_adapter_of_an_undisturbed_run(story: Story) -> None:
    assert story.result["status"] == "completed"
    assert story.result["adapter_sha256"] == story.undisturbed["adapter_sha256"]
    assert story.result["steps"] == story.undisturbed["steps"]
    book = ledger(story.home)
    hashes = {book.job(r["job_id"]).spec_hash for r in (story.result, story.undisturbed)}
    assert len(hashes) == 1


def test_it_was_interrupted_three_times_at_the_worst_moments(story: Story) -> None:
    assert {"upload", "measuring"} <= set(story.lost_in)
    assert story.result["interruptions"] == len(story.lost_in) >= 3


def test_the_market_was_switched_while_a_pod_ran(story: Story) -> None:
    rows = ledger(story.home).attempts(story.job_id)
    markets = [row.market for row in rows]
    assert markets == sorted(markets, reverse=True)  # spot first, then on_demand
    assert set(markets) == {"spot", "on_demand"}
    assert "stopped:switch" in [row.outcome for row in rows]


def test_no_pod_is_left_and_none_was_rented_twice(story: Story) -> None:
    assert story.fake.account.alive() == []
    names = [line.name for line in story.fake.account.bill.lines.values()]
    assert sorted(names) == sorted({r.pod_name for r in ledger(story.home).attempts(story.job_id)})
    assert ledger(story.home).open_attempts() == ()


def test_the_ledger_has_the_bill_of_every_pod_to_the_cent(story: Story) -> None:
    for cost, bill in books(story.home, story.job_id, story.fake):
        assert abs(cost - bill) <= Decimal("0.01")
