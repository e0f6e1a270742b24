"""What happens after an attempt ended: a pure function, so properties say it best."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from brightrun.advances import advances
from brightrun.recovery import OUTAGE_SECONDS, fruitless, next_action, pause_after
from brightrun.situation import Past, Policy, Situation

HERE = Situation(now=datetime(2026, 11, 23, tzinfo=UTC))  # a local pod: nothing is known
OUTCOMES = st.sampled_from(["done", "failed", "lost", "stopped"])
REASONS = st.sampled_from(["", "cancel", "budget", "pause", "switch", "lease", "sigterm"])


@st.composite
def histories(draw: st.DrawFn) -> list[Past]:
    pasts = st.tuples(OUTCOMES, REASONS, st.integers(0, 3))
    found = draw(st.lists(pasts, max_size=10))
    return [
        Past(attempt=n, outcome=o, reason=r, progress=p)  # type: ignore[arg-type]
        for n, (o, r, p) in enumerate(found, start=1)
    ]


def lost(n: int, progress: int = 1) -> Past:
    return Past(attempt=n, outcome="lost", progress=progress)


def test_the_first_pod_is_launched() -> None:
    assert next_action([], Policy(), HERE).do == "launch"


def test_a_lost_pod_is_followed_by_a_new_one() -> None:
    assert next_action([lost(1)], Policy(), HERE).do == "launch"


def test_two_losses_without_a_new_step_are_a_fault_of_the_trainer() -> None:
    assert next_action([lost(1, 0)], Policy(), HERE).do == "launch"
    assert next_action([lost(1, 0), lost(2, 0)], Policy(), HERE).do == "give_up"
    assert next_action([lost(1, 0), lost(2, 3), lost(3, 0)], Policy(), HERE).do == "launch"


def test_a_pod_that_was_told_to_stop_itself_is_no_fruitless_loss() -> None:
    lease = Past(attempt=1, outcome="stopped", reason="lease")
    sigterm = Past(attempt=1, outcome="stopped", reason="sigterm")
    assert fruitless([lease, lease, lease]) == 0
    assert fruitless([sigterm, sigterm]) == 2


@given(histories(), st.sampled_from(["", "cancel", "budget"]))
def test_done_is_finished_and_a_trainer_fault_is_never_retried(
    history: list[Past], stop: str
) -> None:
    action = next_action(history, Policy(), HERE.model_copy(update={"stop": stop}))
    if history and history[-1].outcome == "done":
        assert action.do == "finished"
    elif history and history[-1].outcome == "failed":
        assert action.do == "fail"
    else:
        assert action.do in ("launch", "give_up", "cancelled", "paused")


@given(histories(), st.sampled_from(["cancel", "budget"]))
def test_no_pod_is_rented_while_a_cancel_stands(history: list[Past], stop: str) -> None:
    assert next_action(history, Policy(), HERE.model_copy(update={"stop": stop})).do != "launch"


@given(histories(), st.integers(1, 6))
def test_pods_are_bounded(history: list[Past], most: int) -> None:
    """However attempts end, no more than max_attempts pods are rented."""
    action = next_action(history, Policy(max_attempts=most), HERE)
    assert not (action.do == "launch" and len(history) >= most)


@given(histories())
def test_every_action_says_why(history: list[Past]) -> None:
    assert next_action(history, Policy(), HERE).why


@given(st.lists(st.tuples(OUTCOMES, st.just("")), min_size=2, max_size=8))
def test_fruitless_losses_never_exceed_the_attempts_at_the_end(
    pasts: list[tuple[str, str]],
) -> None:
    history = [
        Past(attempt=n, outcome=o, reason=r)  # type: ignore[arg-type]
        for n, (o, r) in enumerate(pasts)
    ]
    assert 0 <= fruitless(history) <= len(history)


def steps(*numbers: int) -> list[tuple[str, dict[str, object]]]:
    return [("metric", {"step": n, "loss": 1.0}) for n in numbers]


def test_only_what_no_earlier_attempt_had_is_progress() -> None:
    """A pod that dies at step 5 again and again repeats steps: nothing new."""
    assert advances({1: steps(1, 2, 3, 4, 5), 2: steps(5), 3: steps(5, 6)}) == {1: 5, 2: 0, 3: 1}


def test_a_checkpoint_or_a_measured_item_is_progress() -> None:
    saved = ("checkpoint", {"step": 4, "bytes": 1})
    item = ("progress", {"stage": "measuring", "done": 1, "total": 3, "what": "answers"})
    more = ("progress", {"stage": "measuring", "done": 2, "total": 3, "what": "answers"})
    assert advances({1: steps(1, 2, 3, 4, 5), 2: [saved], 3: [saved, item], 4: [item, more]}) == {
        1: 5, 2: 1, 3: 1, 4: 1,
    }  # fmt: skip


def test_signs_of_life_are_no_progress() -> None:
    beats = [("heartbeat", {"stage": "x"}), ("stage", {"name": "training", "status": "started"})]
    validation = [("metric", {"step": 9, "validation_loss": 1.0})]
    assert advances({1: beats, 2: validation}) == {1: 0, 2: 0}


def test_an_outage_is_waited_for_in_growing_pauses_and_not_for_ever() -> None:
    pauses = [pause_after(n, lasted=0.0) for n in range(1, 8)]
    assert pauses == [1, 2, 4, 8, 15, 15, 15]
    assert pause_after(40, lasted=OUTAGE_SECONDS) == 15
    assert pause_after(40, lasted=OUTAGE_SECONDS + 1) is None
