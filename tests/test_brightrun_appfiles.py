"""Files of the user's application in Supabase: listed, fetched, registered; the key is not told."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import supabase_storage
from training_files import document
from typer.testing import CliRunner

from brightrun import appfiles
from brightrun.errors import DatasetError, StorageError
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows.cli import app

ID = "7e0c"


def row(**more: Any) -> dict[str, Any]:
    return {
        "id": ID, "name": "Spring", "json_file_path": f"{ID}/training.json",
        "jsonl_file_path": f"{ID}/training.jsonl", "storage_bucket": "training-files",
        "conversation_count": 3, "total_training_pairs": 12, "status": "active",
        "owner": "x", **more,
    }  # fmt: skip


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[supabase_storage.Storage]:
    fake = supabase_storage.Storage()
    with supabase_storage.serving(fake) as url:
        monkeypatch.setenv("SUPABASE_URL", url)
        monkeypatch.setenv("SUPABASE_KEY", supabase_storage.KEY)
        yield fake


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["files", *words], catch_exceptions=False)


def test_rows_stand_beside_registered_files(project: supabase_storage.Storage) -> None:
    project.rows = [row(), row(id=9, name="Autumn", status=None, conversation_count=None)]
    shown = json.loads(run("list", "--json").output)
    assert [(f["name"], f["id"], f["status"]) for f in shown["supabase"]] == [
        ("Autumn", "9", ""), ("Spring", ID, "active"),
    ]  # fmt: skip
    assert shown["files"] == []
    assert "In Supabase" in run("list").output


def test_a_name_is_looked_up_whole_whatever_it_holds(project: supabase_storage.Storage) -> None:
    odd = 'Spring, "late" (b).v2'
    project.rows = [row(), row(id="8f1d", name=odd), row(id="9a", name="Spring ")]
    assert appfiles.named(load(), odd).id == "8f1d"
    assert appfiles.named(load(), "Spring").id == ID
    with pytest.raises(DatasetError, match="no files"):
        appfiles.named(load(), "")


QUERIES: tuple[Callable[[Any], Any], ...] = (
    lambda query: query.eq("colour", "red"),
    lambda query: query.like("name", "S*"),
    lambda query: query.order("colour"),
)


@pytest.mark.parametrize("query", QUERIES)
def test_what_the_fake_does_not_know_it_refuses(
    project: supabase_storage.Storage, query: Callable[[Any], Any]
) -> None:
    project.rows = [row()]
    with pytest.raises(StorageError, match="cannot be read: APIError"):
        appfiles._rows(load(), query)


def test_more_rows_than_one_answer_holds_are_all_listed_and_found(
    project: supabase_storage.Storage,
) -> None:
    project.most = 3
    project.rows = [row(id=f"{number:04}", name=f"File {number % 4}") for number in range(8)]
    found = appfiles.listed(load())
    assert [(f.name, f.id) for f in found] == sorted((r["name"], r["id"]) for r in project.rows)
    assert appfiles.named(load(), "0007").name == "File 3"


def test_without_a_project_nobody_is_asked(home: Path) -> None:
    assert json.loads(run("list", "--json").output) == {"files": [], "supabase": []}


def test_a_fetched_file_is_checked_and_registered(project: supabase_storage.Storage) -> None:
    project.rows = [row()]
    data = json.dumps(document(3, 4)).encode()
    project.objects[f"training-files/{ID}/training.json"] = (data, "application/json")
    assert run("fetch", "Spring").exit_code == 0
    known = Ledger.open(load()).file("Spring")
    assert known is not None
    assert Path(known.path).read_bytes() == data
    assert known.summary["conversations"] == 3


def test_what_others_wrote_names_no_place_on_this_disk(project: supabase_storage.Storage) -> None:
    bad = appfiles.AppFile(id="../../outside", name="x", json_file_path=f"{ID}/training.json")
    project.objects[f"training-files/{ID}/training.json"] = (b"{}", "application/json")
    place = appfiles.fetch(load(), bad)
    assert place.parent == load().home.resolve() / "fetched" / "outside"


def test_a_large_file_goes_to_the_disk_in_pieces(project: supabase_storage.Storage) -> None:
    large = b"0123456789abcdef" * (4 << 20)
    project.rows = [row(json_file_path=f"{ID}/a b%20c.json")]
    project.objects[f"training-files/{ID}/a%20b%20c.json"] = (large, "application/json")
    tracemalloc.start()
    try:
        place = appfiles.fetch(load(), appfiles.named(load(), "Spring"))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert place.stat().st_size == len(large)
    assert most < len(large) / 4


@pytest.mark.parametrize("path", ["../other/training.json", f"{ID}/%2e%2e/training.json"])
def test_a_path_that_leaves_its_bucket_is_asked_of_nobody(
    project: supabase_storage.Storage, path: str
) -> None:
    with pytest.raises(StorageError, match="its path is none"):
        appfiles.fetch(load(), appfiles.AppFile(id=ID, name="x", json_file_path=path))
    assert not list(appfiles.room(load()).rglob("*.*"))


def test_a_wrong_key_is_told_without_the_key(
    project: supabase_storage.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_wrong")
    with pytest.raises(StorageError, match="cannot be read") as caught:
        appfiles.listed(load())
    assert "sb_secret_wrong" not in str(caught.value)
    shown = run("list", "--json")
    assert shown.exit_code == 0  # registered files are shown all the same
    told = {"supabase_error": caught.value.message}  # no files, and no files known, are two things
    assert json.loads(shown.stdout) == {"files": [], "supabase": [], **told}
    assert "SUPABASE_KEY" in caught.value.fix


def test_two_of_one_name_are_told_apart_by_their_ids(project: supabase_storage.Storage) -> None:
    project.rows = [row(), row(id="8f1d")]
    with pytest.raises(DatasetError, match="2 files") as caught:
        appfiles.named(load(), "Spring")
    assert "7e0c, 8f1d" in caught.value.fix
    assert appfiles.named(load(), "8f1d").id == "8f1d"
    with pytest.raises(DatasetError, match="no files"):
        appfiles.named(load(), "Winter")


def test_while_supabase_is_away_nothing_that_was_fetched_is_lost_and_later_all_goes_on(
    project: supabase_storage.Storage,
) -> None:
    project.rows = [row()]
    data = json.dumps(document(3, 4)).encode()
    project.objects[f"training-files/{ID}/training.json"] = (data, "application/json")
    assert run("fetch", "Spring").exit_code == 0
    project.away = True
    told = json.loads(run("list", "--json").stdout)
    assert [file["name"] for file in told["files"]] == ["Spring"]
    assert (told["supabase"], "cannot be read" in told["supabase_error"]) == ([], True)
    with pytest.raises(StorageError, match="cannot be read"):
        run("fetch", "Spring")
    project.away = False
    known, project.away = appfiles.named(load(), "Spring"), True
    with pytest.raises(StorageError, match="cannot be fetched"):
        appfiles.fetch(load(), known)
    # The registered copy is as it was: jobs of it train on.
    (file,) = Ledger.open(load()).files()
    assert Path(file.path).read_bytes() == data
    project.away = False
    assert run("fetch", "Spring").exit_code == 0
    assert "supabase_error" not in json.loads(run("list", "--json").stdout)
