"""The network volume: made once, found again, grown; its NF4 copy chosen by jobs that it fits."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commands import run
from fakes.clock import FastClock
from fakes.runpod import FakeRunPod, Mischief
from fakes.runpod.server import KEY
from pydantic import SecretStr
from runpod_rentals import IMAGE, SPEC, account, client, job_on, notes, provider

from brightrun import copies, copying, volume
from brightrun.compute.provider import Offer
from brightrun.compute.runpod import volumes
from brightrun.compute.runpod.pods import Place
from brightrun.compute.runpod.provider import RunPodProvider
from brightrun.context import JobContext
from brightrun.copies import ANEW, STORED, Copy, Made
from brightrun.errors import BudgetError, CapacityError, ConfigurationError, ProviderError
from brightrun.jobs import Market
from brightrun.ledger import Ledger
from brightrun.quotes import KNOWN
from brightrun.settings import Settings
from brightrun.specs import BaseModelRef, JobSpec, QuantisedCopy
from tasks.freezing import with_copy

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PCIE, SXM = "H100 80GB PCIe", "H100 80GB SXM"
MODEL = BaseModelRef(name="tiny", sha256="a" * 64, context=8192, template="chatml")
FACTS = {
    "name": "tiny", "sha256": "a" * 64, "revision": "", "context": 8192, "template": "chatml",
    "meaningful": False, "parameters": 4e6,
    "architecture": {"hidden_size": 256, "layers": 4, "intermediate_size": 512, "heads": 4,
                     "kv_heads": 4, "vocab": 2048},
}  # fmt: skip


def copy(**changed: Any) -> Copy:
    facts = {
        "model": "tiny", "revision": "", "sha256": "a" * 64, "volume": "vol1", "gpu": PCIE,
        "folder": "tiny--nf4-h100-80gb-pcie", "manifest_sha256": "b" * 64, "gigabytes": 39.5,
        "job": "j1", "made_at": NOW,
    }  # fmt: skip
    return Copy.model_validate({**facts, **changed})


def named(one: Copy) -> QuantisedCopy:
    return QuantisedCopy(folder=one.folder, manifest_sha256=one.manifest_sha256)


# --- the choice -----------------------------------------------------------------------------------
def test_a_copy_of_the_same_weights_on_the_same_volume_and_kind_of_gpu_is_taken() -> None:
    taken = copies.choose(MODEL, "nf4", PCIE, "vol1", [copy()])
    assert taken.quantised == named(copy())
    assert taken.reason.startswith("weights stored nf4: tiny--nf4-h100-80gb-pcie on volume vol1")
    # SXM and PCIe have the same kernels; the newest of two copies is taken.
    later = copy(gpu=SXM, manifest_sha256="c" * 64, made_at=NOW.replace(day=24))
    assert copies.choose(MODEL, "nf4", PCIE, "vol1", [later, copy()]).quantised == named(later)


@pytest.mark.parametrize(
    ("changed", "precision", "place", "words"),
    [
        ({"sha256": "f" * 64}, "nf4", "vol1", "holds no NF4 copy of these weights"),
        ({"volume": "vol2"}, "nf4", "vol1", "holds no NF4 copy of these weights"),
        ({"gpu": "A100 80GB"}, "nf4", "vol1", "was made on A100 80GB, not on H100 80GB PCIe"),
        ({}, "bf16", "vol1", "is not NF4"),
        ({}, "nf4", "", "no network volume"),
    ],
)
def test_any_other_copy_is_left_and_the_reason_is_said(
    changed: dict[str, Any], precision: Any, place: str, words: str
) -> None:
    there = [copy(**changed)]
    taken = copies.choose(MODEL, precision, PCIE, place, there)
    assert taken.quantised is None
    assert (words in taken.reason) == (precision == "nf4" and place != "")
    if "gpu" in changed:  # a person may say that another GPU's is good enough
        asked = copies.choose(MODEL, "nf4", PCIE, place, there, STORED)
        assert asked.quantised == named(there[0])
        assert "set by BRIGHTRUN_CHOICES" in asked.reason
    else:
        with pytest.raises(ConfigurationError, match="there are none") as error:
            copies.choose(MODEL, precision, PCIE, place, there, STORED)
        assert words in error.value.cause


def test_a_person_may_have_the_weights_quantised_anew() -> None:
    asked = copies.asked_of(json.dumps({"weights": ANEW}))
    taken = copies.choose(MODEL, "nf4", PCIE, "vol1", [copy()], asked)
    assert taken == copies.Taken(reason=f"weights {ANEW}: set by BRIGHTRUN_CHOICES")
    assert copies.asked_of("") == ""
    with pytest.raises(ConfigurationError, match="weights to 'fast'"):
        copies.asked_of('{"weights": "fast"}')


def test_the_spec_names_the_copy_and_one_without_hashes_as_before_there_were_any() -> None:
    plain = JobSpec.model_validate(SPEC)
    old = plain.model_dump(mode="json", exclude={"data": {"name"}, "base_model": {"quantised"}})
    text = json.dumps(old, sort_keys=True, separators=(",", ":"))
    assert plain.spec_hash() == hashlib.sha256(text.encode()).hexdigest()
    base = plain.base_model.model_copy(update={"quantised": named(copy())})
    assert plain.model_copy(update={"base_model": base}).spec_hash() != plain.spec_hash()
    assert base.identity == plain.base_model.identity  # the same weights for every comparison


def test_a_job_s_plan_takes_the_registered_copy_and_tells_why(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "volume.json"
    copies.write(place, Made(id="vol1", name="n", data_center="US-KS-2", copies=(copy(),)))
    with account() as fake:
        job = job_on(home, provider(fake), volume_file=place)
        assert job.settings.volume == "vol1"
        stale = MODEL.model_copy(update={"quantised": named(copy(folder="old"))})
        assert with_copy(job, stale).quantised == named(copy())
        assert notes(job, "choice")[0].startswith("weights stored nf4")
        vars(job)["request"] = job.request.model_copy(update={"provider": "local"})
        assert with_copy(job, stale).quantised is None


# --- the volume -----------------------------------------------------------------------------------
def offers(*stocks: tuple[str, str, float]) -> list[Offer]:
    facts = {"provider": "runpod", "gpu": "g", "device": PCIE, "market": Market.on_demand,
             "source": "s", "as_of": NOW}  # fmt: skip
    return [
        Offer.model_validate({**facts, "data_center": dc, "stock": stock, "usd_per_hour": usd})
        for dc, stock, usd in stocks
    ]


def test_the_volume_is_made_where_the_gpu_is_best_in_stock() -> None:
    there = offers(("A", "low", 1.0), ("B", "high", 3.0), ("C", "high", 2.0), ("D", "none", 0.1))
    assert volume.best_place(there, PCIE) == "C"
    with pytest.raises(CapacityError, match="no data centre offers"):
        volume.best_place(offers(("D", "none", 0.1)), PCIE)


def test_a_70b_model_needs_room_for_its_weights_and_a_quarter_of_them() -> None:
    model = KNOWN["meta-llama/Meta-Llama-3-70B-Instruct"]
    assert volume.size_of(model) == 210  # 141 and 39.5 GB, and 15 % to spare
    assert sum(volume.seconds_of(model).values()) / 3600 == pytest.approx(0.22, abs=0.02)


@pytest.fixture
def prepared(home: Path, tmp_path: Path) -> Settings:
    """What plans a volume: the base model's facts, a key, and a file of its own to write to."""
    folder = home / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "prepared.json").write_text(json.dumps(FACTS))
    storage = (home / "storage").as_uri()
    return Settings(home=home, volume_file=tmp_path / "volume.json", pod_storage_url=storage)


def planned(settings: Settings, fake: FakeRunPod, **more: Any) -> volume.Plan:
    wish = {"base_model": "tiny", "gpu": "", "size_gb": 0, "data_center": "", **more}
    return volume.plan(settings, provider(fake), **wish)


def posts(fake: FakeRunPod) -> list[Any]:
    return [
        body
        for method, path, body in fake.requests
        if (method, path) == ("POST", "/v2/network-volumes")
    ]


def test_the_volume_is_made_once_and_found_again(prepared: Settings) -> None:
    with account() as fake:
        wanted = planned(prepared, fake)
        assert wanted.lacks()[0] == "make network volume 'brightrun-models': 10 GB in EU-RO-1"
        assert (wanted.usd_per_month, wanted.usd_per_hour) == (Decimal("0.70"), Decimal("2.39"))
        assert posts(fake) == []
        there = volume.make(prepared, provider(fake), wanted)
        # By its name, where the file was lost, and by its id, where it was not.
        assert volume.make(prepared, provider(fake), planned(prepared, fake)) == there
        again = Settings(home=prepared.home, volume_file=prepared.volume_file)
        assert again.volume == there.id
        assert volume.make(again, provider(fake), planned(again, fake)) == there
        assert posts(fake) == [{"name": "brightrun-models", "size": 10, "dataCenter": "EU-RO-1"}]
        with pytest.raises(ConfigurationError, match="lies in EU-RO-1, not in US-KS-2"):
            planned(again, fake, data_center="US-KS-2")


def test_a_volume_on_the_second_page_of_the_list_is_not_made_again() -> None:
    with account() as fake:
        fake.contract = None  # which knows no pages: others have met them
        fake.page_size = 1
        for name in ("a", "b"):
            fake.account.make_volume({"name": name, "size": 10, "dataCenter": "US-KS-2"})
        found = volumes.found(client(fake), "", "b")
    assert found is not None
    assert found.name == "b"


def test_a_volume_that_is_too_small_grows_and_never_shrinks(prepared: Settings) -> None:
    with account() as fake:
        volume.make(prepared, provider(fake), planned(prepared, fake))
        wanted = planned(prepared, fake, size_gb=50)
        assert wanted.lacks()[0].endswith("from 10 to 50 GB")
        assert volume.make(prepared, provider(fake), wanted).size_gb == 50
        assert planned(prepared, fake).size_gb == 50
        assert planned(prepared, fake).grows is False


@pytest.mark.parametrize("fault", ["create_500", "create_dropped", "create_html"])
def test_a_doubtful_answer_makes_no_second_volume(prepared: Settings, fault: str) -> None:
    with account(mischief=Mischief({"create": [fault]})) as fake:
        there = volume.make(prepared, provider(fake), planned(prepared, fake))
        assert len(posts(fake)) == 1
        assert list(fake.account.volumes) == [there.id]


def test_a_volume_that_never_appears_is_told_and_not_asked_for_twice(prepared: Settings) -> None:
    with account(mischief=Mischief({"create": ["refused_500"]})) as fake:
        with pytest.raises(ProviderError, match="may have made the network volume"):
            volume.make(prepared, provider(fake), planned(prepared, fake))
        assert len(posts(fake)) == 1
    assert not prepared.volume_file.exists()


def test_two_volumes_of_that_name_are_for_a_person_to_choose_from(prepared: Settings) -> None:
    with account() as fake:
        for place in ("US-KS-2", "EU-RO-1"):
            fake.account.make_volume({"name": volume.NAME, "size": 10, "dataCenter": place})
        with pytest.raises(ConfigurationError, match="2 network volumes are called"):
            planned(prepared, fake)
        gone = prepared.model_copy(update={"runpod_volume": "none"})
        with pytest.raises(ConfigurationError, match="no network volume 'none'"):
            planned(gone, fake)


def test_a_dry_run_tells_the_cost_and_makes_nothing(
    prepared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with account() as fake:
        mine = {
            "HOME": str(prepared.home), "RUNPOD_API_KEY": KEY, "RUNPOD_REST_URL": fake.url,
            "RUNPOD_GRAPHQL_URL": fake.graphql_url, "VOLUME_FILE": str(prepared.volume_file),
        }  # fmt: skip
        for name, value in mine.items():
            monkeypatch.setenv(f"BRIGHTRUN_{name}", value)
        words = ("setup", "volume", "--base-model", "tiny")
        dry = run(*words, "--dry-run", "--json")
        asked = run(*words)
        assert posts(fake) == []
    told = json.loads(dry.stdout)
    assert (told["usd_per_month"], told["complete"], told["size_gb"]) == (0.7, False, 10)
    assert len(told["lacking"]) == 2
    assert (asked.exit_code, "--yes" in asked.stderr) == (3, True)
    assert "$0.7000 a month until deleted" in asked.stdout
    assert not prepared.volume_file.exists()


# --- the pod that makes the copy ------------------------------------------------------------------
POD = """
import json, os, pathlib
storage = pathlib.Path(os.environ["STORAGE_URL"].removeprefix("file://"))
place = storage / "jobs" / os.environ["BRIGHTRUN_JOB_ID"]
wish = json.loads((place / "plan/copy.json").read_bytes())
mine = place / "attempts" / os.environ["BRIGHTRUN_ATTEMPT"]
mine.mkdir(parents=True, exist_ok=True)
done = {"folder": wish["folder"], "manifest_sha256": "d" * 64, "gigabytes": 1.5}
(mine / "new").write_text(json.dumps(done))
(mine / "new").rename(mine / "_DONE")
"""


def copier(environment: dict[str, str]) -> tuple[Sequence[str], dict[str, str]]:
    """A pod that reads its wish and says at once that the copy is there."""
    return (sys.executable, "-S", "-E", "-c", POD), environment


def begun(settings: Settings, fake: FakeRunPod, job_id: str) -> tuple[JobContext, volume.Plan]:
    """The volume, and the job of its copy, as the command makes them."""
    wanted = planned(settings, fake)
    there = volume.make(settings, provider(fake), wanted)
    mine = settings.model_copy(update={"runpod_volume": there.id})
    job = copying.begin(mine, Ledger.open(mine), wanted, job_id, "Ann")
    rents = provider(fake, Place(image=IMAGE, volume=there.id))
    vars(job).update(provider=rents, clock=rents.clock)
    return job, wanted


def test_a_pod_makes_the_copy_as_a_job_with_a_bill_and_the_next_call_finds_it(
    prepared: Settings,
) -> None:
    brisk = FastClock(100.0)
    with account(brisk, entry=copier) as fake:
        job, wanted = begun(prepared, fake, "vol-1")
        done = copying.drive(job, lambda attempt: None)
        made = copying.register(job, wanted.model, wanted.gpu, done)
        assert fake.account.alive() == []
        after = planned(prepared, fake)
        pod = next(body for _, path, body in fake.requests if path == "/v2/pods" and body)
    assert (made.folder, made.gpu) == ("tiny--nf4-h100-80gb-pcie", PCIE)
    assert (after.copied, after.complete, after.lacks()) == (True, True, ())
    row = job.ledger.job("vol-1")
    assert (str(row.status), row.requested_by, row.claim) == ("completed", "Ann", None)
    assert row.hard_limit_usd == pytest.approx(wanted.usd["high"], abs=Decimal("0.000001"))
    (attempt,) = job.ledger.attempts("vol-1")
    assert (attempt.outcome, (attempt.cost_usd or 0) > 0) == ("done", True)
    assert pod["mounts"]["network"][0]["volumeId"] == made.volume
    assert 0 < float(pod["env"]["BRIGHTRUN_LIMIT_HOURS"]) < 1
    # A job like others for whoever looks: nothing of a training is asked of it.
    for words in (("jobs",), ("show", "vol-1"), ("events", "vol-1"), ("reap", "--dry-run")):
        assert run(*words).exit_code == 0, words


def test_a_copy_outlives_a_pod_that_is_lost_and_cannot_be_ended_for_ten_minutes(
    prepared: Settings,
) -> None:
    faults = {"pod": ["error"], "delete": ["delete_ignored"] * 30}
    with account(FastClock(100.0), entry=copier, mischief=Mischief(faults)) as fake:
        job, _ = begun(prepared, fake, "vol-1")
        assert copying.drive(job, lambda attempt: None)["folder"]
        assert fake.account.alive() == []
    assert [a.outcome for a in job.ledger.attempts("vol-1")] == ["lost:never booted", "done"]
    told = [e.payload["code"] for e in job.ledger.events("vol-1", 0, "error")]
    assert told == ["stop_failed"]


def test_a_copy_whose_driver_died_is_gone_on_with_and_one_that_failed_is_told(
    prepared: Settings,
) -> None:
    with account() as fake:
        begun(prepared, fake, "vol-1")
        job, _ = begun(prepared, fake, "vol-2")
        assert job.job_id == "vol-1"
        rents = job.provider
        assert isinstance(rents, RunPodProvider)
        rents.rest._key = SecretStr("wrong")
        with pytest.raises(ConfigurationError, match="invalid bearer token"):
            copying.drive(job, lambda attempt: None)
        row = job.ledger.job("vol-1")
        assert (str(row.status), row.claim) == ("failed", None)
        assert "invalid bearer token" in str(row.error)
        again, _ = begun(prepared, fake, "vol-3")
    assert again.job_id == "vol-3"


def test_a_copy_that_the_month_does_not_pay_for_is_not_begun(prepared: Settings) -> None:
    poor = prepared.model_copy(update={"month_budget_usd": Decimal("0.01")})
    with account() as fake, pytest.raises(BudgetError, match=r"\$0.0100 of the month are left"):
        begun(poor, fake, "vol-1")
    assert Ledger.open(poor).jobs() == ()
