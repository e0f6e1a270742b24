"""What doctor says of the model hub, the rented model, shares, the month and judges' keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes import loopback, supabase_storage
from fakes.hub import COMMIT, TOKEN, FakeHub
from fakes.loopback import Quiet
from fakes.runpod.server import KEY

from brightrun import copies, doctor, doctor_accounts, doctor_machine, findings
from brightrun.basemodels import PREPARED, key_of
from brightrun.findings import Finding
from brightrun.ledger import Ledger
from brightrun.settings import CHECKOUT, load
from brightrun.shelves import Supabase, shelf_of
from flows import readiness

RENTS = {"BRIGHTRUN_RUNPOD_API_KEY": KEY}


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    (folder / "config.json").write_text("{}")
    fake = FakeHub(folder)
    try:
        yield fake.url
    finally:
        fake.server.shutdown()
        fake.server.server_close()


def put(patch: pytest.MonkeyPatch, **environ: str) -> None:
    for name, value in {**RENTS, **environ}.items():
        patch.setenv(name, value)


def asked_hub(patch: pytest.MonkeyPatch, url: str, name: str, token: str = "") -> Finding:
    put(patch, HF_ENDPOINT=url, BRIGHTRUN_RUNPOD_BASE_MODEL=f"{name}@{COMMIT}")
    if token:
        patch.setenv("BRIGHTRUN_POD_HUB_TOKEN", token)
    (found,) = doctor_accounts.hub(load())
    return found


def test_licence_and_token_of_the_rented_model_are_looked_at(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path) as url:
        assert asked_hub(monkeypatch, url, "org/tiny").state == "ok"
        gated = asked_hub(monkeypatch, url, "org/gated")
        assert (gated.state, "licence" in gated.fix) == ("fail", True)
        assert "BRIGHTRUN_POD_HUB_TOKEN" in gated.fix
        assert asked_hub(monkeypatch, url, "org/missing").state == "fail"
        assert asked_hub(monkeypatch, url, "org/gated", TOKEN).state == "ok"
    away = asked_hub(monkeypatch, "http://127.0.0.1:9", "org/tiny")
    assert (away.state, "not known from here" in away.said) == ("warn", True)


def test_no_pod_needs_the_hub_for_what_the_volume_holds(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"org/gated@{COMMIT}"
    copy = {
        "model": name, "revision": COMMIT, "sha256": "a", "volume": "v1", "gpu": "H100",
        "folder": "gated--nf4", "manifest_sha256": "b", "gigabytes": 1.0, "job": "j",
        "made_at": "2026-11-24T00:00:00Z",
    }  # fmt: skip
    made = copies.Made.model_validate(
        {"id": "v1", "name": "n", "data_center": "d", "copies": [copy]}
    )
    (tmp_path / "volume.json").write_text(made.model_dump_json())
    put(monkeypatch, BRIGHTRUN_VOLUME_FILE=str(tmp_path / "volume.json"))
    with hub(tmp_path) as url:
        found = asked_hub(monkeypatch, url, "org/gated")
        assert (found.state, "the volume has a copy" in found.said) == ("ok", True)
        monkeypatch.setenv("BRIGHTRUN_RUNPOD_VOLUME", "another")
        assert asked_hub(monkeypatch, url, "org/gated").state == "fail"


def test_a_rented_model_without_its_facts_here_is_a_failure_before_a_job_meets_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"org/tiny@{COMMIT}"
    put(monkeypatch, BRIGHTRUN_RUNPOD_BASE_MODEL=name)
    found = tuple(doctor_machine.models(load()))[-1]
    assert (found.state, f"trainer prepare {name}" in found.fix) == ("fail", True)
    folder = load().models / key_of(name)
    folder.mkdir(parents=True)
    (folder / PREPARED).write_text("{}")
    assert tuple(doctor_machine.models(load()))[-1].state == "ok"


def test_the_place_of_shares_is_tried(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(url: str) -> list[tuple[str, str]]:
        monkeypatch.setenv("BRIGHTRUN_SHARE_URL", url)
        found = findings.examine({"shares": doctor_accounts.shares}, load(), ())
        return [(one.state, one.said) for one in found]

    assert looked("")[0][0] == "skip"
    place = tmp_path / "shared"
    assert looked(place.as_uri())[0][0] == "fail"
    place.mkdir()
    assert looked(place.as_uri()) == [("ok", f"{place.as_uri()}: written, read, removed")]
    assert list(place.iterdir()) == []
    assert looked("ftp://x")[0][0] == "fail"
    fake = supabase_storage.Storage()
    with supabase_storage.serving(fake) as url:
        put(monkeypatch, SUPABASE_URL=url, SUPABASE_KEY=supabase_storage.KEY)
        assert looked("supabase://shares")[0][0] == "fail"
        shelf = shelf_of(load())
        assert isinstance(shelf, Supabase)
        shelf.make()
        assert looked("supabase://shares")[0][0] == "ok"


def test_a_month_that_gives_no_more_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(doctor_accounts.month(load())) == ()  # no ledger yet, and none is made
    assert not home.exists()
    ledger = Ledger.open(load())
    (full,) = doctor_accounts.month(load())
    assert (full.state, "$500.00" in full.said) == ("ok", True)
    ledger.set_month_limit("", Decimal(0), set_by="Ann", note="stop")
    (spent,) = doctor_accounts.month(load())
    assert (spent.state, "brightrun budget raise" in spent.fix) == ("warn", True)
    put(monkeypatch)
    assert tuple(doctor_accounts.month(load()))[-1].state == "skip"
    monkeypatch.setenv("BRIGHTRUN_GPU_QUOTA", "3")
    quota = tuple(doctor_accounts.month(load()))[-1]
    assert (quota.state, "at most 3 jobs" in quota.said) == ("ok", True)


@contextmanager
def vendors(good: str) -> Iterator[str]:
    class Handler(Quiet):
        def do_GET(self) -> None:
            openai = self.path == "/models" and self.headers["Authorization"] == f"Bearer {good}"
            versioned = self.headers["anthropic-version"] is not None
            other = self.path == "/v1/models" and versioned and self.headers["x-api-key"] == good
            self.send_response(200 if openai or other else 401)
            self.end_headers()

    with loopback.serving(Handler) as url:
        yield url


def test_judges_keys_are_tried_by_a_list_that_costs_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(url: str) -> list[Any]:
        found = readiness.judges(load(), {"openai": url, "anthropic": url})
        return [(one.state, one.said.split()[0], one.fix) for one in found]

    with vendors("good-key") as url:
        assert looked(url)[0][0] == "skip"
        monkeypatch.setenv("BRIGHTRUN_OPENAI_API_KEY", "good-key")
        monkeypatch.setenv("BRIGHTRUN_ANTHROPIC_API_KEY", "good-key")
        assert [row[:2] for row in looked(url)] == [("ok", "openai"), ("ok", "anthropic")]
        monkeypatch.setenv("BRIGHTRUN_ANTHROPIC_API_KEY", "other")
        assert looked(url)[1] == ("fail", "anthropic", "set another BRIGHTRUN_ANTHROPIC_API_KEY")
        monkeypatch.setenv("BRIGHTRUN_JUDGE_API_KEY", "own")
        assert looked(url)[2][0] == "skip"
    assert [row[0] for row in looked("http://127.0.0.1:9")] == ["warn", "warn", "skip"]


def test_every_finding_leads_to_a_page_of_this_checkout() -> None:
    names = {*doctor.CHECKS, *readiness.checks(""), *findings.PAGES}
    pages = {Finding(name=name, state="fail", said="x").page for name in names}
    assert [page for page in pages if not (CHECKOUT / page).is_file()] == []
    told = Finding(name="month", state="warn", said="x", fix="raise it")
    assert told.advice == "raise it; see docs/budget.md"
    assert told.model_dump()["page"] == "docs/budget.md"
    assert Finding(name="month", state="ok", said="x").advice == ""
