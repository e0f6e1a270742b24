"""Measured items: appended as small whole objects, merged at the end, never measured twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from brightrun.errors import TrainerError
from brightrun.runfolder import RunFolder

Row = dict[str, Any]
Key = tuple[Hashable, ...]
PARTS = "measurements/parts"


class ItemStore:
    """Rows of `measurements/{kind}.jsonl`, one per wanted key, in the wanted order."""

    def __init__(
        self, folder: RunFolder, kind: str, attempt: int, key: Callable[[Row], Key]
    ) -> None:
        self.folder = folder
        self.final = f"measurements/{kind}.jsonl"
        self.parts = f"{PARTS}/{kind}"
        self.attempt = attempt
        self.key = key
        self.sequence = 0
        self.rows: dict[Key, Row] = {}
        for name in folder.names(self.parts):
            self._take(folder.read_jsonl(f"{self.parts}/{name}"))
        self._take(folder.read_jsonl(self.final))

    def has(self, keys: Sequence[Key]) -> bool:
        return all(key in self.rows for key in keys)

    def append(self, rows: Sequence[Row]) -> None:
        """Store rows as one object: all of them or none."""
        self.sequence += 1
        name = f"{self.parts}/{self.attempt:04d}-{self.sequence:06d}.jsonl"
        self.folder.write_jsonl(name, list(rows))
        self._take(rows)

    def finish(self, wanted: Sequence[Key]) -> None:
        """Write the final object, then drop the parts; TrainerError when one is missing."""
        missing = [key for key in wanted if key not in self.rows]
        if missing:
            raise TrainerError(
                f"{self.final}: {len(missing)} items are missing, e.g. {missing[0]}",
                cause="they were planned and never measured: a fault of the trainer",
                fix="resume the job: what is there is kept, the rest is measured",
                fault="trainer",
            )
        self.folder.write_jsonl(self.final, [self.rows[key] for key in wanted])
        self.folder.remove(self.parts)

    def _take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.rows.setdefault(self.key(row), row)
