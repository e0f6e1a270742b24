"""What doctor says of Supabase's keys, the new ones and the legacy ones."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from fakes import supabase_storage

from brightrun import doctor_supabase
from brightrun.settings import load

SIGNED = "a secret of at least thirty-two letters"


def legacy(role: str) -> str:
    return jwt.encode({"role": role, "iss": "supabase", "ref": "project"}, SIGNED)


def looked(monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> list[tuple[str, str, str]]:
    monkeypatch.setenv("SUPABASE_URL", url)
    monkeypatch.setenv("SUPABASE_KEY", key)
    found = doctor_supabase.check(load())
    return [(finding.state, finding.said, finding.fix) for finding in found]


def test_both_generations_of_keys_are_told_apart() -> None:
    known = {
        "sb_secret_x": "secret",
        "sb_publishable_x": "publishable",
        legacy("service_role"): "legacy service_role",
        legacy("anon"): "legacy anon",
    }
    assert {key: doctor_supabase.key_kind(key) for key in known} == known
    for other in ("", "x", "a.b.c", "a.W10.c", "a.bnVsbA.c", legacy("authenticated")):
        assert doctor_supabase.key_kind(other) == "unknown"


@pytest.mark.parametrize("key", ["sb_publishable_x", legacy("anon")])
def test_a_key_that_everybody_may_have_is_refused_without_asking(
    home: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    ((state, said, fix),) = looked(monkeypatch, "http://127.0.0.1:9", key)
    assert (state, "sb_secret_" in fix, key in said + fix) == ("fail", True, False)


def test_a_secret_key_is_good_and_a_legacy_one_is_used_with_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = supabase_storage.Storage()
    with supabase_storage.serving(fake) as url:
        found = looked(monkeypatch, url, supabase_storage.KEY)
        assert [(state, said) for state, said, _ in found] == [
            ("ok", f"{url} answers; it has 0 training files")
        ]
        monkeypatch.setattr(supabase_storage, "KEY", legacy("service_role"))
        old = looked(monkeypatch, url, legacy("service_role"))
    assert [state for state, _, _ in old] == ["warn", "ok"]
    assert "legacy service_role" in old[0][1]
    assert legacy("service_role") not in str(old)
