"""Settings: one environment, secrets that do not show."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from brightrun.settings import CHECKOUT, Settings, load


def test_everything_is_derived_from_the_home(home: Path) -> None:
    found = load()
    assert found.home == home
    assert found.storage == (home / "storage").as_uri()
    assert found.database == f"sqlite:///{home / 'ledger.db'}"
    assert found.models == home / "models"
    assert not home.exists()  # reading settings writes nothing


def test_the_home_is_in_the_checkout_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIGHTRUN_HOME")
    assert load().home == CHECKOUT / ".brightrun"


def test_a_home_with_a_space_or_an_umlaut_is_a_proper_url(tmp_path: Path) -> None:
    assert Settings(home=tmp_path / "my höme").storage.endswith("/my%20h%C3%B6me/storage")


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:planted@host/db")
    monkeypatch.setenv("BRIGHTRUN_SLACK_TOKEN", "planted")
    monkeypatch.setenv("HF_TOKEN", "planted")
    found = load()
    assert found.database == "postgresql://user:planted@host/db"
    assert "planted" not in repr(found) + str(found) + found.model_dump_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [("LEASE_SECONDS", "1"), ("THREADS", "0"), ("SMTP_PORT", "x"), ("MONTH_BUDGET_USD", "-1")],
)
def test_a_setting_out_of_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"BRIGHTRUN_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        load()


def test_settings_cannot_be_changed_afterwards(home: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().threads = 7
