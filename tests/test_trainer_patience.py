"""Storage trouble: how long it is waited out, what is told, and when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty_storage import FaultyFileSystem, break_storage, mend_storage
from hypothesis import given
from hypothesis import strategies as st

from brightrun.errors import StorageError
from brightrun.runfolder import RunFolder, checkpoint
from brightrun.storagefaults import AWAY, DENIED, FULL, Trouble
from trainer.patience import Limits, Outages, PatientFolder, Spell, pause
from trainer.reporter import Reporter

assert FaultyFileSystem.protocol == "faulty"


@given(st.integers(0, 100), st.floats(0, 1))
def test_pauses_double_up_to_a_minute_with_chance_in_them(tries: int, chance: float) -> None:
    found = pause(tries, chance)
    assert 0.25 <= found <= 60
    assert pause(tries, 0) <= found <= pause(tries, 1) == 2 * pause(tries, 0)
    assert pause(tries, chance) <= pause(tries + 1, chance)


def test_patience_is_three_intervals_or_half_an_hour_and_less_for_what_lasts() -> None:
    away, full = Trouble(AWAY, ""), Trouble(FULL, "")
    usual = Limits.of(10, None)
    assert (usual.over(away, 1799), usual.over(away, 1801)) == (False, True)
    assert (usual.over(full, 299), usual.over(full, 301)) == (False, True)
    assert not Limits.of(60, None).over(away, 10_799)
    assert Limits.of(60, 5.0).over(away, 6)


def test_a_lasting_fault_after_a_long_outage_has_its_own_time() -> None:
    away, denied = Trouble(AWAY, ""), Trouble(DENIED, "")
    limits = Limits(1800, 300)
    spell = Spell.of(away, 0, None)
    assert not spell.over(limits, away, 1200)
    spell = Spell.of(denied, 1200, spell)
    assert Spell.of(denied, 1300, spell) == spell
    assert not spell.over(limits, denied, 1499)
    assert spell.over(limits, denied, 1501)
    # Whoever changes for ever is not waited for longer than for both.
    for now in range(1500, 2100, 50):
        spell = Spell.of((away, denied)[now // 50 % 2], now, spell)
    assert not spell.over(limits, away, 2099)
    assert spell.over(limits, away, 2101)


class Place:
    """A patient run folder on a storage that fails on demand."""

    def __init__(self, tmp_path: Path, limits: Limits) -> None:
        self.storage = tmp_path / "storage"
        self.plain = RunFolder(self.storage.as_uri(), "job-1")
        self.plain.write_json("spec.json", {})
        self.reporter = Reporter(self.plain, 1, {})
        self.pauses: list[float] = []
        self.mend_after: int | None = None
        self.folder = PatientFolder(
            f"faulty://{self.storage}", "job-1", Outages(self.reporter, limits), self.wait
        )

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self.mend_after:
            mend_storage(self.storage)

    def warnings(self) -> list[dict[str, Any]]:
        self.reporter.flush()
        return [e.payload for e in self.plain.events(1) if e.type == "warning"]


def test_an_outage_is_waited_out_and_told_once(tmp_path: Path) -> None:
    place = Place(tmp_path, Limits(60, 60))
    break_storage(place.storage, "unreachable")
    place.mend_after = 4
    place.folder.write_json("state.json", {"n": 1})
    place.folder.write_json("more.json", {"n": 2})
    assert place.plain.read_json("state.json") == {"n": 1}
    assert len(place.pauses) == 4
    assert place.pauses == sorted(place.pauses)
    first, second = place.warnings()
    assert (first["code"], second["code"]) == ("storage_away", "storage_back")
    assert "storage.example" in first["message"]


@pytest.mark.parametrize(
    ("error", "name", "said"),
    [
        ("ExpiredToken", "storage_expired", "credentials have expired"),
        ("AccessDenied", "storage_denied", "refuses access"),
        ("NoSuchBucket", "storage_gone", "does not exist any more"),
        ("full", "disk_full", "full"),
    ],
)
def test_a_lasting_fault_ends_with_its_own_error(
    tmp_path: Path, error: str, name: str, said: str
) -> None:
    place = Place(tmp_path, Limits(1e9, 0.0))
    place.folder.upload_folder(_local(tmp_path), checkpoint(2), {"step": 2})
    break_storage(place.storage, error)
    with pytest.raises(StorageError, match=said) as caught:
        place.folder.write_json("state.json", {})
    assert "last complete checkpoint is kept" in caught.value.message
    assert caught.value.fix
    assert caught.value.fault == name
    assert [w["code"] for w in place.warnings()] == [name]
    mend_storage(place.storage)
    assert place.plain.checkpoints() == [2]


def test_a_full_disk_that_can_be_read_is_still_full(tmp_path: Path) -> None:
    place = Place(tmp_path, Limits(60, 60))
    break_storage(place.storage, "full", only="big")
    place.mend_after = 2
    outages, seen = place.folder.outages, []

    def reading(seconds: float) -> None:
        place.folder.exists("spec.json")
        seen.append([w["code"] for w in place.warnings()])
        place.wait(seconds)

    place.folder.wait = reading
    place.folder.write_json("big.json", {})
    assert seen == [["disk_full"], ["disk_full"]]
    assert outages.reporter is place.reporter
    assert [w["code"] for w in place.warnings()] == ["disk_full", "storage_back"]


def test_a_deleted_run_folder_does_not_come_back_empty(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    plain = RunFolder(storage.as_uri(), "job-1")
    reporter = Reporter(plain, 1, {})
    folder = PatientFolder(
        storage.as_uri(), "job-1", Outages(reporter, Limits(0, 0)), lambda _: None
    )
    with pytest.raises(StorageError, match="does not exist any more"):
        folder.write_json("state.json", {})
    assert not storage.exists()


def test_a_missing_file_is_an_answer_at_once(tmp_path: Path) -> None:
    place = Place(tmp_path, Limits(60, 60))
    with pytest.raises(StorageError, match="has no manifest"):
        place.folder.download_folder(checkpoint(4), tmp_path / "out")
    place.folder.upload_folder(_local(tmp_path), checkpoint(4), {})
    place.plain.local_path(f"{checkpoint(4)}/weights").unlink()
    with pytest.raises(StorageError, match="weights is missing"):
        place.folder.download_folder(checkpoint(4), tmp_path / "out")
    assert place.pauses == []


def _local(tmp_path: Path) -> Path:
    place = tmp_path / "local"
    place.mkdir()
    (place / "weights").write_text("w")
    return place
