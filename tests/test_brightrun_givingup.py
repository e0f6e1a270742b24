"""What is read from the last heartbeat of a pod that was lost."""

from __future__ import annotations

from typing import Any

import pytest

from brightrun.givingup import last_sign, lighter, scarce
from brightrun.jobs import Hyperparameters


@pytest.mark.parametrize(
    ("beat", "short"),
    [
        ({"memory_mb": 40_000, "free_mb": 3_900}, True),
        ({"memory_mb": 40_000, "free_mb": 4_100}, False),
        ({"memory_mb": 900, "free_mb": 499}, True),
        ({"memory_mb": 900, "free_mb": 501}, False),
        ({"memory_mb": 900}, False),  # of a pod before this was told
        ({}, False),
    ],
)
def test_memory_is_scarce_when_next_to_nothing_is_left(beat: dict[str, Any], short: bool) -> None:
    assert scarce(beat) is short


def test_the_last_sign_says_what_is_known() -> None:
    beat = {"stage": "training", "memory_mb": 3_120, "free_mb": 240}
    told = "; last sign of pod 2: training, 3.1 GB of memory used, 0.2 GB free"
    assert last_sign(2, beat) == told
    assert last_sign(2, {"memory_mb": 3_120}).endswith("unknown stage, 3.1 GB of memory used")
    assert last_sign(2, {"stage": "starting"}) == ""


def test_what_takes_less_memory_is_suggested_until_nothing_is_left() -> None:
    values = Hyperparameters(gradient_checkpointing=False, precision="bf16")
    assert lighter(values) == {"gradient_checkpointing": True}
    values = values.model_copy(update=lighter(values))
    assert lighter(values) == {"precision": "nf4"}
    assert lighter(values.model_copy(update=lighter(values))) == {}
