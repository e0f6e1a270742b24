"""From a pod that is wanted to its first step: every second has its part."""

from __future__ import annotations

from test_brightrun_losses import LOST, rented
from test_brightrun_restarts import at, event, pod

from brightrun.outcomes import NEVER_STARTED
from brightrun.starts import PARTS, starts


def test_a_start_is_split_into_its_parts_and_they_sum_to_it() -> None:
    pods = [
        rented(1, 0, 0, f"lost:{NEVER_STARTED}"), rented(2, 30, 30, f"lost:{NEVER_STARTED}"),
        rented(3, 90, 400, "done"),
    ]  # fmt: skip
    fetched = event(3, 142, "stage", name="preprocessing", status="finished",
                    detail={"fetch_s": 7.5})  # fmt: skip
    answered = event(0, 93, "choice").model_copy(
        update={"payload": {"attempt": 3, "created_s": 2.5}}
    )
    said = [answered, *pod(3, 130, range(1, 3)), fetched]
    (found,) = starts(pods, said)
    assert found.attempt == 3
    assert found.parts == {
        "queue": 90.0, "create": 2.5, "boot": 37.5, "import": 4.0, "weights": 7.5, "load": 2.5,
        "step": 5.0,
    }  # fmt: skip
    assert found.total_s == (at(149) - at(90)).total_seconds()
    assert tuple(found.parts) == PARTS


def test_each_pod_has_its_own_start_and_one_that_made_no_step_has_none() -> None:
    pods = [rented(1, 0, 60, LOST), rented(2, 70, 90, LOST), rented(3, 100, 300, "done")]
    said = [*pod(1, 5, range(1, 3)), event(2, 80, "heartbeat"), *pod(3, 110, range(3, 5))]
    found = starts(pods, said)
    assert [(s.attempt, s.parts["queue"], s.parts["boot"]) for s in found] == [
        (1, 0.0, 5.0), (3, 0.0, 10.0),
    ]  # fmt: skip


def test_a_pods_wrong_clock_makes_no_part_negative() -> None:
    (found,) = starts([rented(1, 50, 300, "done")], pod(1, 5, range(1, 3)))
    assert min(found.parts.values()) >= 0
