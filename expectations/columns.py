"""Lengths, hashes and flags of a training file: packed columns that become the suites' frames.

No text is kept: two million turns take about 250 MB. A flag is NaN where its question does not
apply, or where a defect of shape already explains it: Great Expectations skips NaN.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

Number: TypeAlias = float | int
Row: TypeAlias = dict[str, Number | None]
NAN = float("nan")
# Numbers that a message repeats are doubles; flags and small counts are floats to save memory.
PRECISE = frozenset(
    (
        "conversation",
        "pair",
        "line",
        "meta_line",
        "last_line",
        "turns_unseen",
        "turn_number",
        "expected_turn",
        "declared",
    )
)


@dataclass(slots=True)
class Columns:
    """Rows as packed columns; every row must give the same names."""

    values: dict[str, array[float]] = field(default_factory=dict)
    rows: int = 0

    def add(self, row: Row) -> None:
        if not self.rows:
            self.values = {name: array("d" if name in PRECISE else "f") for name in row}
        for name, value in row.items():
            self.values[name].append(NAN if value is None else value)
        self.rows += 1

    def frame(self) -> pd.DataFrame:
        """The same memory as a frame; do not add rows while it lives."""
        import numpy as np
        import pandas as pd

        kinds = {"d": np.float64, "f": np.float32}
        return pd.DataFrame(
            {n: np.frombuffer(c, dtype=kinds[c.typecode]) for n, c in self.values.items()},
            copy=False,
        )

    def row(self, index: int) -> dict[str, float]:
        return {name: column[index] for name, column in self.values.items()}
