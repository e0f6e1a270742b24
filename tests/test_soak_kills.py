"""20 seeded kills: whatever a pod is killed in, the job ends with the unbroken run's bits.

Three of them run in the default suite, all in `make soak`; with SOAK_TABLE=FILE each adds a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from soak_kills import Case, Phase, run, table

pytestmark = pytest.mark.heavy
KILLS: tuple[tuple[Phase, ...], ...] = (
    ("step",), ("save",), ("upload",), ("validation",), ("upload", "save"),
)  # fmt: skip
ALL = [
    Case(seed, kills, precision, packing)
    for seed, (packing, precision, kills) in enumerate(
        (packing, precision, kills)
        for packing in (False, True)
        for precision in ("fp32", "nf4")
        for kills in KILLS
    )
]


# Three phases, fp32 and NF4, packed and not, one killed twice: a resume of a resume. Two unbroken
# runs are enough for them.
QUICK = [ALL[8], ALL[9], ALL[11]]


def check(case: Case, place: Path) -> None:
    line = run(case, place)
    if record := os.environ.get("SOAK_TABLE"):
        with Path(record).open("a") as out:
            out.write(json.dumps(line) + "\n")
    assert line["differing_steps"] == []
    assert line["adapter_equal"]
    assert line["steps"] == 12
    assert line["micro_batches"] == [1, 2]  # the last step of an epoch is short
    assert all(hit["inside"] for hit in line["hits"])
    assert str(case.seed) in table([line])


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_killed_pod_changes_no_bit(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_soak_a_killed_pod_changes_no_bit(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
