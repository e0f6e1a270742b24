"""Tokenised once: kept by content, made anew when damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainer_jobs import SMALL, conversation, lay_out, tiny_models

from brightrun.conversations import Message
from brightrun.jobs import JobSpec
from brightrun.tokens import ChatTokenizer, Encoded
from trainer import data
from trainer.tokencache import KEPT, TokenCache

TALKS: list[list[Message]] = [conversation(n) for n in range(3)]


def files(models: Path) -> list[Path]:
    return sorted((models / ".tokens").iterdir())


def test_the_second_time_nothing_is_tokenised(
    tmp_path: Path, tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tokenizer.encode_many(TALKS)
    cache = TokenCache(tmp_path)
    assert cache.encoded(tokenizer, TALKS) == expected

    def forbidden(*_: Any) -> list[Encoded]:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(tokenizer, "encode_many", forbidden)
    assert cache.encoded(tokenizer, TALKS) == expected
    assert cache.told == ["made", "found"]
    assert [path.suffix for path in files(tmp_path)] == [".npz"]


def test_other_texts_masks_or_templates_have_other_files(
    tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    cache = TokenCache(tmp_path)
    masked = [[{**m, "supervised": False} for m in TALKS[0]], *TALKS[1:]]
    other = ChatTokenizer(tokenizer.tokenizer, "qwen2", tokenizer.sha256)
    newer = ChatTokenizer(tokenizer.tokenizer, "chatml", "0" * 64)
    paths = {
        cache.path(tokenizer, TALKS),
        cache.path(tokenizer, TALKS[:2]),
        cache.path(tokenizer, masked),
        cache.path(other, TALKS),
        cache.path(newer, TALKS),
    }
    assert len(paths) == 5


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    whole = np.array([{"a": 1}], dtype=object)
    with path.open("wb") as file:
        np.savez(file, lengths=whole, ids=whole, flags=whole)


def other(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, lengths=np.array([1, 1, 1]), ids=np.arange(2), flags=np.arange(3))


@pytest.mark.parametrize("damage", [cut, flip, empty, pickled, other])
def test_a_damaged_file_is_made_anew(damage: Any, tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    cache = TokenCache(tmp_path)
    expected = cache.encoded(tokenizer, TALKS)
    (path,) = files(tmp_path)
    damage(path)
    assert cache.encoded(tokenizer, TALKS) == expected
    assert cache.encoded(tokenizer, TALKS) == expected
    assert cache.told == ["made", "made", "found"]


def test_the_least_recently_used_go_first(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    cache = TokenCache(tmp_path)
    for number in range(KEPT):
        cache.encoded(tokenizer, [conversation(number)])
        os.utime(cache.path(tokenizer, [conversation(number)]), (number, number))
    cache.encoded(tokenizer, [conversation(0)])  # used again
    cache.encoded(tokenizer, [conversation(KEPT)])
    assert len(files(tmp_path)) == KEPT
    assert cache.path(tokenizer, [conversation(0)]).exists()
    assert not cache.path(tokenizer, [conversation(1)]).exists()


def test_a_disk_that_takes_nothing_only_costs_time(
    tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    cache = TokenCache(tmp_path / "models")
    assert cache.encoded(tokenizer, TALKS) == tokenizer.encode_many(TALKS)
    assert cache.told[0].startswith("not kept: ")


@pytest.mark.parametrize("sequence", ["conversation", "pair"])
def test_a_second_attempt_trains_on_the_same_samples(
    sequence: str, tmp_path: Path, tokenizer: ChatTokenizer
) -> None:
    values = SMALL.model_copy(update={"sequence": sequence})
    folder = lay_out(tmp_path / "storage", tiny_models(), values)
    spec = JobSpec.model_validate(folder.read_json("spec.json")["spec"])
    plain = data.load(folder, spec, tokenizer)
    for told in ("made", "found"):
        loaded = data.load(folder, spec, tokenizer, TokenCache(tmp_path))
        assert loaded.training == plain.training
        assert loaded.held_out == plain.held_out
        assert loaded.facts["token_cache"] == [told, told]
    assert json.dumps(loaded.facts)
