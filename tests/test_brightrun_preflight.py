"""Looked at before a pod is rented: what stands in the way is told, and nothing is rented."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import ManualClock
from fakes.registry import registry
from fakes.runpod.bill import Bill
from fakes.runpod.market import Market as Stock
from fakes.sts import ROLE
from faulty_storage import ORDERS, break_storage, mend_storage
from runpod_rentals import IMAGE, SECRETS, account, estimate, job_on, kind, notes, provider, row

from brightrun import preflight
from brightrun.attempts import release, rent
from brightrun.compute.provider import LaunchRequest
from brightrun.compute.runpod.client import TRIES
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.problems import failure
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext
from brightrun.errors import CapacityError, ConfigurationError, StorageError
from brightrun.launching import launch
from brightrun.ledger import AttemptRow


def refusal(job: JobContext) -> str:
    with pytest.raises(ConfigurationError, match="cannot be sent to runpod yet") as caught:
        launch(job)
    assert job.ledger.attempts("job-1") == ()
    return caught.value.message


def test_everything_that_stands_in_the_way_is_told_at_once_and_nothing_is_rented(
    home: Path,
) -> None:
    with account(bill=Bill(credit_micro=9_000_000)) as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        job = job_on(home, provider(fake, Place(image="trainer:latest", volume="none")))
        job.folder.write_json("estimate.json", estimate(vram_gb=80.0))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(3))
        vars(job)["spec"] = job.spec.model_copy(
            update={"base_model": job.spec.base_model.model_copy(update={"name": "org/m"})}
        )
        told = refusal(job)
        assert fake.account.pods == {}
    for words in (
        "org/m is not pinned to a revision", "not named by digest", "no network volume 'none'",
        "$9.00 of credit", "add $5.00", "$3.00 of the job's limit are left",
    ):  # fmt: skip
        assert words in told
    assert told.count("\n  - ") == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pod_storage_url": ""}, "a folder of this machine"),
        ({"pod_storage_url": "s3://bucket"}, "no storage credentials for pods"),
        ({"pod_storage_url": "file:///proc/nowhere"}, "cannot write, read and remove"),
    ],
)
def test_the_storage_is_tried_with_the_pods_own_credentials(
    home: Path, settings: dict[str, Any], words: str
) -> None:
    with account() as fake:
        told = refusal(job_on(home, provider(fake), **settings))
    assert words in told
    assert "s3cret" not in told


def job_with_broken_storage(home: Path, rents: RunPodProvider, error: str) -> JobContext:
    """Only the pods' storage fails; ours, where the job is planned, answers."""
    place = home / "pods-storage"
    job = job_on(home, rents, pod_storage_url=f"faulty://{place}")
    place.mkdir()
    break_storage(place, error)
    return job


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("full", "No space left on device"),
        ("QuotaExceeded", "the server says QuotaExceeded"),
        ("InvalidAccessKeyId", "the storage refuses access"),
        ("NoSuchBucket", "the bucket or folder of the run does not exist"),
    ],
)
def test_a_storage_that_no_wait_mends_is_refused_at_once(
    home: Path, error: str, words: str
) -> None:
    with account() as fake:
        job = job_with_broken_storage(home, provider(fake), error)
        before = fake.clock.monotonic()
        with pytest.raises(ConfigurationError, match=words) as told:
            rent(job)
        assert fake.clock.monotonic() == before
        assert fake.account.pods == {}
    assert "credentials" not in str(told.value)


class Mending(ManualClock):
    """The storage is back after so many seconds."""

    def __init__(self, storage: Path, seconds: float) -> None:
        super().__init__()
        self.storage, self.back = storage, self.monotonic() + seconds

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic() >= self.back and (self.storage / ORDERS).exists():
            mend_storage(self.storage)


@pytest.mark.slow
def test_an_s3_that_nobody_serves_is_away_and_its_key_is_not_told(home: Path) -> None:
    nobody = {"pod_storage_url": "s3://b", "pod_storage_endpoint": "http://127.0.0.1:9"}
    with account() as fake, pytest.raises(StorageError, match="cannot be reached") as told:
        refusal(job_on(home, provider(fake), **nobody, **SECRETS))
    assert "s3cret" not in str(told.value)


def test_a_storage_that_is_away_at_launch_is_waited_for_and_told(home: Path) -> None:
    with account(Mending(home / "pods-storage", 300.0)) as fake:
        job = job_with_broken_storage(home, provider(fake), "unreachable")
        found = rent(job)
        assert isinstance(found, AttemptRow)
        assert fake.account.alive() == [found.pod_name]
    began, ended = notes(job, "warning")
    assert "asked again for up to 10 minutes: a pod cannot write, read and remove in" in began
    assert re.search(r"did not answer for 3\d\d s: .*the storage cannot be reached", ended)
    assert found.number == 1


def test_a_storage_that_stays_away_at_launch_ends_the_job_and_nothing_was_rented(
    home: Path,
) -> None:
    with account() as fake:
        job = job_with_broken_storage(home, provider(fake), "unreachable")
        with pytest.raises(StorageError, match="a pod cannot write, read and remove"):
            rent(job)
        assert fake.account.pods == {}
    assert job.ledger.attempts("job-1") == ()


@pytest.mark.slow
def test_an_sts_that_stays_away_at_launch_ends_the_job_and_nothing_was_rented(home: Path) -> None:
    nobody = {"pod_storage_role": ROLE, "pod_storage_sts": "http://127.0.0.1:9"}
    with account() as fake:
        job = job_on(home, provider(fake), pod_storage_url="s3://b", **nobody, **SECRETS)
        began = fake.clock.monotonic()
        with pytest.raises(StorageError, match=r"127\.0\.0\.1:9") as told:
            rent(job)
        assert fake.clock.monotonic() - began >= 600
        assert fake.account.pods == {}
    assert "asked again for up to 10 minutes" in notes(job, "warning")[0]
    assert job.ledger.attempts("job-1") == ()
    assert "s3cret" not in str(told.value)


def test_what_else_is_wrong_does_not_wait_for_a_storage_that_is_away(home: Path) -> None:
    with account() as fake:
        job = job_with_broken_storage(home, provider(fake), "unreachable")
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(3))
        told = refusal(job)
    assert "$3.00 of the job's limit are left" in told
    assert "the storage cannot be reached" in told


def test_an_api_that_is_away_in_the_midst_of_preflight_is_no_free_machine(home: Path) -> None:
    with account() as fake:
        fake.account.volumes["vol1"] = "US-KS-2"
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        unready = rents.unready

        def away(request: LaunchRequest) -> tuple[str, ...]:
            fake.account.mischief.script["read"] = ["read_500"] * TRIES
            return unready(request)

        rents.unready = away  # type: ignore[method-assign]
        job = job_on(home, rents)
        with pytest.raises(CapacityError, match="RunPod failed"):
            launch(job)
        rents.unready = unready  # type: ignore[method-assign]
        assert launch(job).number == 2
    assert row(job).outcome == "lost:never started"


def test_a_key_that_may_not_read_the_volume_is_told_at_once(home: Path) -> None:
    with account() as fake:
        rents = provider(fake, Place(image=IMAGE, volume="vol1"))
        get = rents.rest.get

        def denied(path: str, *words: Any, **more: Any) -> Any:
            if "network-volumes" in path:
                raise failure(f"GET {path}", 403, {}, '{"detail": "forbidden"}')
            return get(path, *words, **more)

        rents.rest.get = denied  # type: ignore[method-assign]
        with pytest.raises(ConfigurationError, match="forbidden"):
            rent(job_on(home, rents))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("brightrun/elsewhere-", "the registry has no image"),
        ("brightrun/private", "does not give"),
    ],
)
def test_an_image_that_a_pod_could_not_pull_is_found_before_one_is_rented(
    home: Path, name: str, words: str
) -> None:
    digest = "sha256:" + ("b" if name.endswith("-") else "a") * 64
    with account() as fake, registry() as images:
        job = job_on(home, provider(fake), runpod_image=images.image(name, digest))
        assert words in refusal(job)
        assert fake.account.pods == {}


def test_what_cannot_be_known_from_here_is_said_and_does_not_stop(home: Path) -> None:
    with account() as fake:
        image = "127.0.0.1:9/brightrun/trainer@sha256:" + "a" * 64
        job = job_on(home, provider(fake), runpod_image=image)
        launch(job)
        (said,) = [note for note in notes(job, "warning") if "can be pulled" in note]
        assert "ConnectError" in said
        preflight.doubt(job, said)
        assert notes(job, "warning").count(said) == 1


@pytest.mark.parametrize("packing", [True, None, False])
def test_packing_that_the_usual_image_cannot_do_is_said_before_a_pod_is_paid(
    home: Path, packing: bool | None
) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        values = job.spec.values.model_copy(update={"packing": packing})
        vars(job)["spec"] = job.spec.model_copy(update={"values": values})
        launch(job)
        said = [note for note in notes(job, "warning") if "flash-attn" in note]
        assert len(said) == bool(packing)


def test_what_no_machine_is_needed_for_is_looked_at_before_the_wait_for_one(home: Path) -> None:
    with account(market=Stock([kind("NVIDIA H100 PCIe", 2.39, US_KS_2=0)])) as fake:
        job = job_on(home, provider(fake))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(3))
        assert "$3.00 of the job's limit are left" in refusal(job)


def test_an_unknown_balance_is_said_and_does_not_stop(home: Path) -> None:
    with account() as fake:
        rents = provider(fake)
        rents.balance = lambda: None  # type: ignore[method-assign]
        job = job_on(home, rents)
        launch(job)
        assert any("balance is not known" in note for note in notes(job, "warning"))


def test_only_the_first_pod_is_looked_at_beforehand(home: Path) -> None:
    with account() as fake:
        job = job_on(home, provider(fake))
        release(job, launch(job))
        job.ledger.update_job("job-1", hard_limit_usd=Decimal(0))
        assert launch(job).number == 2
