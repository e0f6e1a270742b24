"""Which ends of the training task bring another pod."""

from __future__ import annotations

from typing import Any

import pytest
from annotated_types import Le
from prefect.client.schemas.objects import State
from prefect.states import Failed

from brightrun.errors import SpotInterrupted, StopFailed, TrainerError
from brightrun.settings import Settings
from brightrun.stopping import JobCancelled
from tasks.pod import train, worth_another


def failed(error: BaseException) -> State[Any]:
    return Failed(data=error)


def test_a_lost_pod_is_retried_as_often_as_any_policy_may_say() -> None:
    run: Any = None
    (most,) = (m.le for m in Settings.model_fields["max_attempts"].metadata if isinstance(m, Le))
    assert int(train.retries) > 2 * most  # pods that never started are not counted there
    assert worth_another(None, run, failed(SpotInterrupted("the pod is gone")))


@pytest.mark.parametrize(
    "error",
    [
        TrainerError("nan"),
        JobCancelled("by Ann"),
        StopFailed("for a day"),
        ValueError("a fault"),
        MemoryError(),
    ],
)
def test_nothing_else_costs_a_second_pod(error: BaseException) -> None:
    run: Any = None
    assert not worth_another(None, run, failed(error))
