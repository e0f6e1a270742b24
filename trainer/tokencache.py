"""Token ids and masks of a job's sequences, kept beside the base models: tokenised once.

The file's name is the hash of all that decides its content. A npz without pickles; zip's own
checksums find damage, and a damaged or foreign file is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brightrun.conversations import Message
from brightrun.tokens import ChatTokenizer, Encoded

FOLDER = ".tokens"
VERSION = 1
KEPT = 16
"""Files; the least recently used goes first. A job needs two, of some bytes a token."""


class TokenCache:
    """Sequences in `{models}/.tokens`. `told`: of each list asked for, found | made | not kept."""

    def __init__(self, models: Path) -> None:
        self.folder = models / FOLDER
        self.told: list[str] = []

    def encoded(self, tokenizer: ChatTokenizer, sequences: list[list[Message]]) -> list[Encoded]:
        """The sequences' ids and masks, from the cache when it has them."""
        path = self.path(tokenizer, sequences)
        found = self.load(path, len(sequences))
        if found is not None:
            self.told.append("found")
            return found
        made = tokenizer.encode_many(sequences)
        try:
            self.keep(path, made)
        except OSError as error:  # a full or read-only disk costs the next attempt some seconds
            self.told.append(f"not kept: {error.strerror}")
        else:
            self.told.append("made")
        return made

    def path(self, tokenizer: ChatTokenizer, sequences: list[list[Message]]) -> Path:
        """Named by tokenizer, our template (both are in its hash) and every message."""
        digest = hashlib.sha256(f"{VERSION} {tokenizer.family} {tokenizer.sha256}".encode())
        for said in sequences:
            digest.update(json.dumps(said, sort_keys=True).encode())
        return self.folder / f"{digest.hexdigest()}.npz"

    def load(self, path: Path, count: int) -> list[Encoded] | None:
        """The kept sequences; None when there are none, or not `count` sound ones."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                lengths, ids, flags = file["lengths"], file["ids"], file["flags"]
            os.utime(path)
        except (OSError, TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        total = int(lengths.sum())
        if len(lengths) != count or len(ids) != total or len(flags) != total:
            return None
        ends = np.cumsum(lengths).tolist()
        starts = [0, *ends[:-1]]
        return [
            Encoded(
                tuple(ids[a:b].tolist()),
                tuple((flags[a:b] & 1).astype(bool).tolist()),
                tuple((flags[a:b] & 2).astype(bool).tolist()),
            )
            for a, b in zip(starts, ends, strict=True)
        ]

    def keep(self, path: Path, sequences: Sequence[Encoded]) -> None:
        """Write them whole or not at all. OSError when the folder cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lengths = np.array([len(one.input_ids) for one in sequences], dtype=np.int64)
        ids, flags = np.empty(lengths.sum(), np.int32), np.empty(lengths.sum(), np.uint8)
        at = 0
        for one in sequences:
            end = at + len(one.input_ids)
            ids[at:end] = one.input_ids
            flags[at:end] = np.array(one.supervised, np.uint8) + 2 * np.array(one.content, np.uint8)
            at = end
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            try:
                np.savez(file, lengths=lengths, ids=ids, flags=flags)
                file.close()
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        for old in sorted(self.folder.glob("*.npz"), key=_used, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another pod of this machine has just removed it
        return 0.0
