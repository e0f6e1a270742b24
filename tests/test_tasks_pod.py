"""Which ends of the training task bring another pod."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Failed

from brightrun.errors import SpotInterrupted, StopFailed, TrainerError
from brightrun.stopping import JobCancelled
from tasks.pod import worth_another


def failed(error: BaseException) -> State[Any]:
    return Failed(data=error)


def test_only_a_lost_pod_is_retried_and_one_that_cannot_be_ended_is_asked_again() -> None:
    run: Any = None
    assert worth_another(None, run, failed(StopFailed("it stays")))
    assert worth_another(None, run, failed(SpotInterrupted("the pod is gone")))


@pytest.mark.parametrize(
    "error", [TrainerError("nan"), JobCancelled("by Ann"), ValueError("a fault"), MemoryError()]
)
def test_nothing_else_costs_a_second_pod(error: BaseException) -> None:
    run: Any = None
    assert not worth_another(None, run, failed(error))
