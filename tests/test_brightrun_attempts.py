"""Driving a pod to its end: finished or lost, adopted or given up, its books closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import ManualClock
from fakes.compute import FakeProvider
from pod_lives import (
    Trainer,
    dies_at_once,
    dies_at_step_5,
    drive,
    finishes,
    hangs,
    job_with,
    loses_its_gpu,
    outcomes,
    provider_of,
    runs_out_of_memory,
    runs_short_of_memory,
)

from brightrun import attempts, retrying
from brightrun.attempts import train_once
from brightrun.compute.provider import LaunchRequest, Pod
from brightrun.errors import CapacityError, InterruptionError, OutOfMemory, SpotInterrupted
from brightrun.jobs import Overrides
from brightrun.launching import launch
from brightrun.runfolder import EventType

pytestmark = pytest.mark.usefixtures("quick")


def test_a_pod_that_finishes_gives_its_ending(home: Path) -> None:
    job = job_with(home, finishes)
    assert drive(job)["adapter_sha256"] == "abc"
    (pod,) = job.ledger.attempts("job-1")
    assert (pod.outcome, pod.last_step, pod.resumed_from) == ("done", 9, 0)
    assert pod.cost_usd is not None


def test_a_lost_pod_is_worth_a_retry_that_goes_on_from_the_checkpoint(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted, match="was lost"):
        drive(job)
    assert drive(job)["steps"] == 9
    first, second = job.ledger.attempts("job-1")
    assert (first.outcome.partition(":")[0], first.last_step) == ("lost", 5)
    assert (second.resumed_from, second.last_step) == (4, 9)
    assert first.pod_name != second.pod_name
    told = [e.payload["message"] for e in job.ledger.events("job-1", 0, "choice")]
    assert told == [
        "pod 1 was lost after step 5: lost:no ending was written",
        "pod 2 goes on after the loss of pod 1, from the checkpoint of step 4",
    ]


def test_two_pods_without_a_new_step_are_not_followed_by_a_third(home: Path) -> None:
    job = job_with(home, dies_at_once, dies_at_once)
    with pytest.raises(SpotInterrupted):
        drive(job)
    with pytest.raises(InterruptionError, match="fault of the trainer"):
        drive(job)
    with pytest.raises(InterruptionError, match="given up"):
        drive(job)
    assert len(provider_of(job).launched) == 2


def test_pods_that_were_killed_for_want_of_memory_end_with_the_numbers_and_a_mend(
    home: Path,
) -> None:
    job = job_with(home, runs_short_of_memory, runs_short_of_memory)
    bf16 = job.request.model_copy(update={"overrides": Overrides(precision="bf16")})
    vars(job)["request"] = bf16
    with pytest.raises(SpotInterrupted):
        drive(job)
    with pytest.raises(InterruptionError, match="possibly killed for want of memory") as caught:
        drive(job)
    said = "last sign of pod 2: model_loading, 15.9 GB of memory used, 0.1 GB free"
    assert said in caught.value.message
    assert caught.value.fault == "killed"
    assert caught.value.fix.endswith("or `brightrun retry job-1 --set precision=nf4`")
    (offered,) = retrying.suggested(job.request, caught.value.as_dict())
    assert str(offered) == "precision: bf16 -> nf4 (suggested by the error)"


def test_pods_that_died_with_memory_left_suggest_nothing_and_say_where_to_look(home: Path) -> None:
    job = job_with(home, dies_at_once, dies_at_once)
    with pytest.raises(SpotInterrupted):
        drive(job)
    with pytest.raises(InterruptionError, match="killed for want of memory") as caught:
        drive(job)
    assert caught.value.adjustment == {}
    assert "--type heartbeat" in caught.value.fix


def test_a_person_who_goes_on_gets_new_pods(home: Path) -> None:
    job = job_with(home, dies_at_once, dies_at_once, finishes)
    for _ in range(2):
        with pytest.raises(InterruptionError):
            drive(job)
    attempts.start_afresh(job)
    assert drive(job)["steps"] == 9
    assert [a.number for a in job.ledger.attempts("job-1")] == [1, 2, 3]


def test_a_fault_of_the_trainer_is_raised_as_it_was_and_not_retried(home: Path) -> None:
    """Also an out-of-memory whose adjustment would give another result."""
    job = job_with(home, lambda env: runs_out_of_memory(env, precision="nf4"))
    for _ in range(2):
        with pytest.raises(OutOfMemory, match="no room for 4") as caught:
            drive(job)
        assert caught.value.adjustment == {"precision": "nf4"}
    assert len(provider_of(job).launched) == 1


def test_an_out_of_memory_gets_one_more_pod_with_its_adjustment(home: Path) -> None:
    job = job_with(home, runs_out_of_memory, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted):  # the mended pod is lost
        drive(job)
    assert drive(job)["steps"] == 9
    first, *mended = [request.environment for request in provider_of(job).launched]
    assert first["BRIGHTRUN_CHOICES"] == ""
    assert [json.loads(pod["BRIGHTRUN_CHOICES"]) for pod in mended] == [{"micro_batch": 2}] * 2
    assert job.folder.read_json("attempts/2/launch.json")["choices"] == '{"micro_batch": 2}'
    said = [e.payload["message"] for e in job.ledger.events("job-1", 0, "choice")]
    runs = [text[:29] for text in said if "runs with" in text]
    assert runs == [f"pod {n} runs with micro_batch 2" for n in (2, 3)]
    assert outcomes(job)[0] == "failed:out_of_memory"


def test_an_out_of_memory_that_stays_ends_the_job_after_its_second_pod(home: Path) -> None:
    job = job_with(home, runs_out_of_memory, runs_out_of_memory)
    with pytest.raises(OutOfMemory):
        drive(job)
    assert outcomes(job) == ["failed:out_of_memory"] * 2


def test_a_running_pod_is_adopted_and_no_second_one_rented(home: Path) -> None:
    job = job_with(home, finishes)
    launch(job)  # the flow that rented it is killed here
    assert drive(job)["steps"] == 9
    assert len(provider_of(job).launched) == 1
    assert outcomes(job) == ["done"]


def test_adopting_closes_the_books_of_older_attempts(home: Path) -> None:
    job = job_with(home, dies_at_once, finishes)
    launch(job)
    launch(job)
    for pod in job.ledger.attempts("job-1")[:1]:
        provider_of(job).running.pop(pod.pod_name)
    drive(job)
    assert outcomes(job) == ["lost:no ending was written", "done"]


def test_a_pod_that_ended_while_nobody_watched_is_closed(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    first = launch(job)
    while provider_of(job).find(first.pod_name):
        pass
    assert drive(job)["steps"] == 9
    assert [a.last_step for a in job.ledger.attempts("job-1")] == [5, 9]


def test_whatever_breaks_in_the_driver_no_pod_stays(home: Path) -> None:
    job = job_with(home, hangs)

    def broken(attempt: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_once(job, broken)
    assert provider_of(job).running == {}
    assert job.ledger.open_attempts() == ()


def test_a_pod_whose_resume_cannot_be_told_does_not_stay(home: Path) -> None:
    job = job_with(home, dies_at_step_5, hangs)
    with pytest.raises(SpotInterrupted):
        drive(job)
    note = job.note

    def broken(type_: EventType, payload: dict[str, Any]) -> None:
        if "goes on after the loss" in str(payload.get("message")):
            raise ZeroDivisionError
        note(type_, payload)

    vars(job)["note"] = broken
    with pytest.raises(ZeroDivisionError):
        drive(job)
    assert len(provider_of(job).launched) == 2
    assert provider_of(job).running == {}
    assert job.ledger.open_attempts() == ()


def test_a_loss_is_followed_over_pods_that_were_not_to_be_had(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    fake = provider_of(job)
    there = fake.launch
    vars(fake)["launch"] = none_left
    with pytest.raises(CapacityError):
        drive(job)
    vars(fake)["launch"] = there
    attempts.start_afresh(job)
    drive(job)
    told = [str(e.payload.get("message")) for e in job.ledger.events("job-1", 0, "choice")]
    (said,) = [message for message in told if "goes on after" in message]
    assert said == "pod 3 goes on after the loss of pod 1, from the checkpoint of step 4"


def none_left(request: LaunchRequest) -> Pod:
    raise CapacityError("none left")


def test_the_attempt_is_in_the_books_before_the_provider_is_called(home: Path) -> None:
    job = job_with(home)

    class Asked(FakeProvider):
        def launch(self, request: LaunchRequest) -> Pod:
            (row,) = job.ledger.attempts("job-1")
            assert row.pod_name == request.name
            raise CapacityError("none left")

    vars(job)["provider"] = Asked()
    with pytest.raises(CapacityError, match="none left"):
        drive(job)
    (row,) = job.ledger.attempts("job-1")
    assert row.outcome == "lost:never started"
    assert row.ended_at is not None


def test_a_doubtful_launch_is_made_sure_to_be_gone(home: Path) -> None:
    """The provider's answer is lost, its pod runs: it is gone before the next one is rented."""
    job = job_with(home)

    class Doubtful(FakeProvider):
        def launch(self, request: LaunchRequest) -> Pod:
            assert self.running == {}
            pod = super().launch(request)
            if len(self.launched) == 1:
                raise TimeoutError("no answer")
            return pod

    fake = Doubtful(hangs, finishes)
    vars(job).update(provider=fake, clock=ManualClock())
    assert drive(job)["steps"] == 9
    assert fake.running == {}
    assert len(fake.launched) == 2
    assert job.ledger.open_attempts() == ()


def test_a_pod_is_told_what_it_needs_and_no_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BRIGHTRUN_SLACK_TOKEN", "HF_TOKEN", "BRIGHTRUN_RUNPOD_API_KEY"):
        monkeypatch.setenv(name, "planted")
    job = job_with(home, dies_at_step_5, finishes, interrupt_at=(5,))
    with pytest.raises(SpotInterrupted):
        drive(job)
    drive(job)
    first, second = (request.environment for request in provider_of(job).launched)
    assert first["BRIGHTRUN_INTERRUPT_AT"] == "5"
    assert "BRIGHTRUN_INTERRUPT_AT" not in second
    assert json.loads(first["BRIGHTRUN_EXPECTED"]) == {"training": 3.0}
    assert "planted" not in json.dumps([first, second])


def test_a_gone_pod_bills_to_its_last_event_and_a_hanging_one_to_its_end(home: Path) -> None:
    def long_ago(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        pod.beat()
        yield

    job = job_with(home, long_ago, hangs)
    first = launch(job)
    while provider_of(job).find(first.pod_name):
        pass
    attempts.settle_open_attempts(job)
    (row,) = job.ledger.attempts("job-1")
    assert row.ended_at == job.ledger.last_event_at("job-1", 1)
    second = launch(job)
    attempts.release(job, second)
    now = datetime.now(UTC)
    ended = job.ledger.attempts("job-1")[1].ended_at
    assert ended is not None
    assert now - ended < timedelta(seconds=1)


def test_closing_the_books_twice_changes_nothing(home: Path) -> None:
    job = job_with(home, finishes)
    drive(job)
    before = job.ledger.attempts("job-1")
    attempts.release(job, before[0])
    assert job.ledger.attempts("job-1") == before


def test_a_broken_gpu_is_a_lost_pod_and_another_one_goes_on(home: Path) -> None:
    job = job_with(home, loses_its_gpu, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    assert drive(job)["adapter_sha256"] == "abc"
    first, second = job.ledger.attempts("job-1")
    assert first.outcome == "lost:gpu_lost"
    assert second.outcome == "done"
