"""Backup and restore of ledger and run folders: the drill, as after the loss of a machine.

With --postgres the ledger that is lost, or the new one, lies in a real Postgres.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import inside
from pydantic import SecretStr
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, Text, select
from sqlalchemy.engine import make_url

from brightrun import backup, ledger_store, restoring
from brightrun.backup_place import Place
from brightrun.errors import ConfigurationError, StorageError
from brightrun.ledger import Ledger
from brightrun.ledger_dump import tables
from brightrun.ledger_schema import REVISION, Moment, metadata
from brightrun.ledger_store import engine_of, migrate, transaction
from brightrun.runfolder import RunFolder, sha256_file
from brightrun.settings import Settings, load

NOW = datetime(2026, 11, 23, 17, 10, tzinfo=UTC)
STAMP = "2026-11-23T17-10-00Z"
BEFORE = "0005"


def value(column: Any, n: int) -> Any:
    """Something of the column's type, the harder the better; 1 leaves out what may be absent."""
    if column.foreign_keys and column.nullable:
        return "a" if n == 1 else "b"  # the second row is there before the first
    if column.foreign_keys:
        (key,) = column.foreign_keys
        return value(key.column, n)
    if column.name == "job_id" or (column.table.name == "training_jobs" and column.primary_key):
        return "ba"[n]
    if n == 1 and column.nullable:
        return None
    if isinstance(column.type, Moment | DateTime):
        return NOW + timedelta(microseconds=n + 1)
    if isinstance(column.type, JSON):
        return {"z": n, "a": ["ä\u2028</", 0.1 + 0.2, None, True], "b": {}}
    if isinstance(column.type, Boolean):
        return bool(n)
    for kind, made in ((Float, 1 / 3 + n), (Integer, 2**31 - 2 - n), (Text, f"'ä\n\\{n}\"")):
        if isinstance(column.type, kind):
            return made
    raise AssertionError(column)


def fill(settings: Settings) -> None:
    """Two rows into every table there is, at whatever revision."""
    with transaction(engine_of(settings), write=True) as connection:
        for table in tables(connection):
            for n in (1, 0):
                row = {c.name: value(c, n) for c in table.columns if not numbered(c)}
                connection.execute(table.insert().values(row))


def numbered(column: Any) -> bool:
    return bool(column.name == "id" and column.primary_key)


def everything(settings: Settings) -> dict[str, list[str]]:
    with transaction(engine_of(settings), write=False) as connection:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in metadata.sorted_tables
        }


def older_part(settings: Settings, of: dict[str, list[str]]) -> dict[str, list[str]]:
    """What columns of those names hold."""
    with transaction(engine_of(settings), write=False) as connection:
        return {
            table.name: sorted(
                repr(tuple(row))
                for row in connection.execute(select(*(table.c[name] for name in of[table.name])))
            )
            for table in tables(connection)
            if table.name in of
        }


def run_folder(settings: Settings, job_id: str = "b") -> RunFolder:
    folder = RunFolder(settings.storage, job_id)
    folder.write_json("spec.json", {"job": job_id})
    folder.write_bytes("checkpoints/step-00000002/state.pt", b"\x00\xff" * 5000)
    folder.write_json("checkpoints/step-00000002/manifest.json", {"files": {}})
    return folder


@pytest.fixture
def other(tmp_path: Path, databases: Any) -> Settings:
    """A machine with nothing on it."""
    url = None if databases is None else databases.fresh()
    return Settings.model_validate({"home": tmp_path / "other", "DATABASE_URL": url})


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Settings:
    return Settings.model_validate({"home": tmp_path / "sqlite", "DATABASE_URL": None})


@pytest.fixture
def lost(home: Path) -> Settings:
    """The ledger and run folders in use."""
    settings = load()
    Ledger.open(settings)
    fill(settings)
    run_folder(settings)
    run_folder(settings, "a")
    return settings


def test_what_was_lost_is_there_again_row_by_row_and_byte_by_byte(
    lost: Settings, other: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    assert url.endswith(STAMP)
    told = restoring.restore(other, url)
    assert everything(other) == everything(lost)
    assert all(len(found) == 2 for found in everything(other).values())
    assert (told.rows, told.jobs) == (2 * len(metadata.tables), 2)
    for job_id in "ab":
        was, now = RunFolder(lost.storage, job_id), RunFolder(other.storage, job_id)
        assert sorted(backup.objects(was)) == sorted(backup.objects(now))
        assert all(was.read_bytes(n) == now.read_bytes(n) for n in backup.objects(was))
        assert now.checkpoints() == [2]


def test_a_restored_ledger_goes_on_counting(
    lost: Settings, other: Settings, tmp_path: Path
) -> None:
    restoring.restore(other, backup.make(lost, str(tmp_path / "safe"), NOW))
    with transaction(engine_of(other), write=True) as connection:
        for table in metadata.sorted_tables:
            if numbered(next(iter(table.columns))):
                row = {c.name: value(c, 0) for c in table.columns if not numbered(c)}
                unique = {c: f"{row[c]}x" for c in ("kind", "threshold", "key") if c in row}
                new = {**row, **unique, **({"seq": 7} if "seq" in row else {})}
                made = connection.execute(table.insert().values(new)).inserted_primary_key
                assert made is not None
                assert made[0] == 3, table.name


def test_a_backup_of_one_database_fits_into_the_other(
    lost: Settings, on_sqlite: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    restoring.restore(on_sqlite, url)
    assert everything(on_sqlite) == everything(lost)
    again = backup.make(on_sqlite, str(tmp_path / "again"), NOW)
    was, now = Place(url).backup(), Place(again).backup()
    assert {n: f.content for n, f in was.files.items()} == {
        n: f.content for n, f in now.files.items()
    }


def test_an_upgrade_is_rolled_back_by_the_backup_that_was_made_before_it(
    home: Path, other: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older checkout is this one that knows no newer revision."""
    settings = load()
    migrate(engine_of(settings), settings, BEFORE)
    fill(settings)
    with transaction(engine_of(settings), write=False) as connection:
        columns = {table.name: table.columns.keys() for table in tables(connection)}
    kept = older_part(settings, columns)
    url = backup.make(settings, str(tmp_path / "safe"), NOW)
    Ledger.open(settings)  # the upgrade
    assert ledger_store.revision(engine_of(settings)) == REVISION
    assert older_part(settings, columns) == kept
    with monkeypatch.context() as older:
        older.setattr(ledger_store, "REVISION", BEFORE)
        restoring.restore(other, url)
        assert ledger_store.revision(engine_of(other)) == BEFORE
        with pytest.raises(ConfigurationError, match=f"revision {REVISION}"):
            backup.make(settings, str(tmp_path / "late"), NOW)
    assert older_part(other, columns) == kept
    assert all(len(found) == 2 for found in kept.values())
    Ledger.open(other)  # and forward again
    assert everything(other) == everything(settings)


def test_nothing_is_restored_over_a_ledger_that_has_rows(lost: Settings, tmp_path: Path) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    with pytest.raises(ConfigurationError, match="not empty"):
        restoring.restore(lost, url)


def test_a_copy_that_could_end_the_originals_pods_is_not_made(
    lost: Settings, other: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    keyed = other.model_copy(update={"runpod_api_key": SecretStr("planted")})
    with pytest.raises(ConfigurationError, match="end pods") as caught:
        restoring.restore(keyed, url)
    assert "--original-is-gone" in caught.value.fix
    assert restoring.restore(keyed, url, original_is_gone=True).rows > 0


@pytest.mark.parametrize("told", ["{", "[]", '{"format": 1}'])
def test_a_manifest_that_cannot_be_read_is_damaged_and_no_fault_of_ours(
    told: str, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(told)
    with pytest.raises(StorageError) as caught:
        Place(str(tmp_path)).backup()
    assert caught.value.fix


def test_a_place_that_cannot_be_written_is_told_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="file/x cannot be used") as caught:
        Place(str(tmp_path / "file" / "x")).put(tmp_path / "file", "ledger/a")
    assert caught.value.fix


def test_no_place_is_told(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="no place"):
        Place("")


def test_an_object_that_differs_is_kept_and_the_ledger_stays_empty(
    lost: Settings, other: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    mine = RunFolder(other.storage, "b")
    mine.write_bytes("spec.json", b"mine")
    with pytest.raises(StorageError, match="differs from the backup"):
        restoring.restore(other, url)
    assert mine.read_bytes("spec.json") == b"mine"
    assert ledger_store.standing(other)[1] is None
    mine.remove("spec.json")
    restoring.restore(other, url)  # goes on from where it stopped
    assert everything(other) == everything(lost)


def test_the_ledger_alone_comes_back_beside_a_storage_that_went_on(
    lost: Settings, other: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    mine = RunFolder(other.storage, "b")
    mine.write_bytes("spec.json", b"newer")
    restoring.restore(other, url, run_folders=False)
    assert (mine.read_bytes("spec.json"), backup.job_ids(other.storage)) == (b"newer", ["b"])
    assert everything(other) == everything(lost)


@pytest.mark.parametrize("name", ["jobs/b/spec.json", "ledger/attempts.jsonl.gz"])
def test_a_damaged_file_is_named_and_nothing_comes_into_the_ledger(
    name: str, lost: Settings, other: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    file = tmp_path / "safe" / STAMP / name
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    for look in (lambda: restoring.check(url), lambda: restoring.restore(other, url)):
        with pytest.raises(StorageError, match=f"{name} is damaged"):
            look()
    _, revision = ledger_store.standing(other)
    assert revision is None or not any(everything(other).values())


def test_rows_that_were_changed_with_their_sha256_are_not_kept(
    lost: Settings, other: Settings, tmp_path: Path
) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    place = tmp_path / "safe" / STAMP
    name = "ledger/budgets.jsonl.gz"
    told = gzip.decompress((place / name).read_bytes()).splitlines()
    (place / name).write_bytes(gzip.compress(told[0] + b"\n"))
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = sha256_file(place / name)
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="budgets was not restored"):
        restoring.restore(other, url)
    assert not any(everything(other).values())


def test_a_backup_that_was_cut_off_does_not_exist(lost: Settings, tmp_path: Path) -> None:
    url = backup.make(lost, str(tmp_path / "safe"), NOW)
    (tmp_path / "safe" / STAMP / "manifest.json").unlink()
    with pytest.raises(StorageError, match="no complete backup"):
        restoring.check(url)


def test_a_checkpoint_that_is_removed_meanwhile_is_left_out_whole(
    lost: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, gone = RunFolder.download, "checkpoints/step-00000002"

    def removed_first(folder: RunFolder, relative: str, local: Path) -> None:
        if folder.job_id == "b" and relative.startswith(gone) and folder.exists(relative):
            folder.remove(gone)
        fetch(folder, relative, local)

    monkeypatch.setattr(RunFolder, "download", removed_first)
    found = Place(backup.make(lost, str(tmp_path / "safe"), NOW)).backup()
    assert found.left_out == (f"jobs/b/{gone}/state.pt", f"jobs/b/{gone}/manifest.json")
    assert "jobs/a/checkpoints/step-00000002/manifest.json" in found.files


def test_rows_that_a_policy_hides_are_not_left_out_in_silence(
    home: Path, tmp_path: Path, databases: Any
) -> None:
    if databases is None:
        pytest.skip("row level security is Postgres's: make test-postgres")
    settings = load()
    Ledger.open(settings)
    fill(settings)
    with engine_of(settings).begin() as owner:
        for statement in (
            "CREATE ROLE reader LOGIN PASSWORD 'test'", "GRANT USAGE ON SCHEMA brightrun TO reader",
            "GRANT SELECT ON ALL TABLES IN SCHEMA brightrun TO reader",
            "ALTER TABLE brightrun.attempts ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY few ON brightrun.attempts TO reader USING (number < 0)",
        ):  # fmt: skip
            owner.exec_driver_sql(statement)
    url = make_url(settings.database).set(username="reader", password="test")
    where = {"home": home, "DATABASE_URL": url.render_as_string(hide_password=False)}
    with pytest.raises(ConfigurationError, match=r"row-level security policy.*attempts"):
        backup.make(Settings.model_validate(where), str(tmp_path / "safe"), NOW)


def test_checkpoints_may_be_left_out(lost: Settings, tmp_path: Path) -> None:
    found = Place(backup.make(lost, str(tmp_path / "safe"), NOW, checkpoints=False)).backup()
    kept = [name for name in found.files if name.startswith("jobs/")]
    assert kept == ["jobs/a/spec.json", "jobs/b/spec.json"]


def test_the_commands_tell_where_it_lies_and_what_is_in_it(home: Path, tmp_path: Path) -> None:
    nothing = inside(home, "backup", str(tmp_path / "safe"))
    assert (nothing.code, "no ledger" in nothing.err) == (1, True)
    Ledger.open(load())
    run_folder(load())
    made = inside(home, "backup", str(tmp_path / "safe"), "--json").json
    assert (made["jobs"], made["rows"], made["left_out"]) == (1, 0, [])
    looked = inside(home, "restore", made["place"], "--dry-run")
    assert (looked.code, looked.out.startswith("Is whole:")) == (0, True)
    back = inside(home, "restore", made["place"])  # the ledger has no row yet
    assert (back.code, back.out.startswith("Restored:")) == (0, True)
    assert everything(load())["training_jobs"] == []
