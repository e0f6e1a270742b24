"""Driving a pod to its end: lost or slow, cancelled or too dear, adopted or given up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.clock import ManualClock
from fakes.compute import FakeProvider, Life

from brightrun import alerts, attempts, following, recovery
from brightrun.attempts import train_once
from brightrun.compute.provider import LaunchRequest, Manners, Pod
from brightrun.context import JobContext, driver_name
from brightrun.errors import (
    CapacityError,
    InterruptionError,
    OutOfMemory,
    SpotInterrupted,
    StorageError,
)
from brightrun.following import Watch
from brightrun.jobs import JobRequest
from brightrun.launching import launch
from brightrun.ledger import Ledger
from brightrun.ledger_jobs import CLAIM_STALE_SECONDS
from brightrun.outcomes import OWN_LIMIT
from brightrun.runfolder import EventType, EventWriter, RunFolder
from brightrun.settings import Settings
from brightrun.stopping import DriverReplaced, JobCancelled

ESTIMATE = {
    "price": {"usd_per_hour": 0.5, "source": "test", "as_of": "2026-11-22"},
    "market": "on_demand",
    "stage_seconds": {"training": 3.0},
    "hard_limit_usd": 1.0,
}
SPEC = {
    "base_model": {"name": "tiny", "context": 8192, "template": "chatml"},
    "data": {
        "name": "f", "source_sha256": "a", "train_sha256": "b", "validation_sha256": "c",
        "train_conversations": 4, "validation_conversations": 1, "supervised_pairs": 8,
        "train_tokens": 100, "supervised_tokens": 50,
    },
    "values": {}, "plan_sha256": "p", "threads": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waiting, a hundred times shorter."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(recovery, "LONGEST_PAUSE_SECONDS", 0.01)


def job_with(home: Path, *lives: Life, interrupt_at: tuple[int, ...] = ()) -> JobContext:
    """A planned and claimed job whose pods live as told."""
    settings = Settings(home=home)
    ledger = Ledger.open(settings)
    request = JobRequest(training_file="x.json", interrupt_at=interrupt_at)
    ledger.create_job("job-1", request)
    ledger.claim("job-1", driver_name())
    job = JobContext(settings, ledger, "job-1")
    vars(job)["provider"] = FakeProvider(*lives)
    job.folder.write_json("spec.json", {"spec": SPEC})
    job.folder.write_json("estimate.json", ESTIMATE)
    return job


def provider_of(job: JobContext) -> FakeProvider:
    found = job.provider
    assert isinstance(found, FakeProvider)
    return found


class Trainer:
    """What a pod writes, from its own side of the run folder."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.folder = RunFolder(environment["STORAGE_URL"], environment["BRIGHTRUN_JOB_ID"])
        self.attempt = int(environment["BRIGHTRUN_ATTEMPT"])
        self.writer = EventWriter(self.folder, self.attempt)

    def beat(self) -> None:
        self.writer.add("heartbeat", {"stage": "training", "step": 0})
        self.writer.flush()

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            self.writer.add("metric", {"step": step, "total_steps": 9, "loss": 1.0})
        self.writer.flush()

    def save(self, step: int) -> None:
        self.folder.write_json(f"checkpoints/step-{step:08d}/manifest.json", {"files": {}})
        self.writer.add("checkpoint", {"step": step, "bytes": 1, "seconds": 0.1})
        self.writer.flush()

    def end(self, name: str, **content: Any) -> None:
        self.folder.write_json(f"attempts/{self.attempt}/{name}", content)


def finishes(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    newest = max(pod.folder.checkpoints(), default=0)
    yield
    pod.steps(newest + 1, 9)
    yield
    pod.writer.add("stage", {"name": "finalization", "status": "finished", "elapsed_s": 1.0})
    pod.writer.flush()
    pod.end("_DONE", adapter_sha256="abc", steps=9)


def dies_at_step_5(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    yield
    pod.steps(1, 4)
    pod.save(4)
    yield
    pod.steps(5, 5)


def dies_at_once(environment: dict[str, str]) -> Iterator[None]:
    yield


def hangs(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.beat()
    while True:
        yield


def obeys(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.steps(1, 2)
    while (asked := pod.folder.stop_request()) is None:
        pod.beat()
        yield
    pod.save(2)
    pod.end("_STOPPED.json", reason=asked["reason"], by=asked["by"])


def ends_at_its_own_limit(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.steps(1, 2)
    yield
    pod.save(2)
    pod.end("_STOPPED.json", reason="budget", by=OWN_LIMIT)


def runs_out_of_memory(environment: dict[str, str], **adjustment: Any) -> Iterator[None]:
    yield
    suggested = adjustment or {"micro_batch": 2}
    error = OutOfMemory("no room for 4", fix="smaller", adjustment=suggested)
    Trainer(environment).end("_FAILED.json", **error.as_dict())


def loses_its_gpu(environment: dict[str, str]) -> Iterator[None]:
    pod = Trainer(environment)
    pod.steps(1, 2)
    pod.save(2)
    yield
    pod.end("_FAILED.json", **SpotInterrupted("GPU is lost", fault="gpu_lost").as_dict())


def drive(job: JobContext) -> dict[str, Any]:
    return train_once(job, lambda attempt: None)


def outcomes(job: JobContext) -> list[str]:
    return [a.outcome for a in job.ledger.attempts("job-1")]


def test_a_pod_that_finishes_gives_its_ending(home: Path) -> None:
    job = job_with(home, finishes)
    assert drive(job)["adapter_sha256"] == "abc"
    (pod,) = job.ledger.attempts("job-1")
    assert (pod.outcome, pod.last_step, pod.resumed_from) == ("done", 9, 0)
    assert pod.cost_usd is not None


def test_the_last_events_before_the_marker_are_taken_in(home: Path) -> None:
    job = job_with(home, finishes)
    drive(job)
    assert [e.seq for e in job.ledger.events("job-1", 1)] == list(range(1, 11))


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


def stale_after(job: JobContext, seconds: float) -> None:
    quicker = job.settings.model_copy(update={"heartbeat_stale_seconds": seconds})
    object.__setattr__(job, "settings", quicker)


def test_a_pod_without_a_sign_of_life_is_ended_and_lost(home: Path) -> None:
    job = job_with(home, hangs, finishes)
    stale_after(job, 0.05)
    with pytest.raises(SpotInterrupted):
        drive(job)
    assert provider_of(job).terminated == [job.ledger.attempts("job-1")[0].pod_name]
    assert outcomes(job) == ["lost:no ending was written"]
    assert drive(job)["steps"] == 9


def test_a_slow_pod_that_gives_signs_of_life_is_left_alone(home: Path) -> None:
    def slow(environment: dict[str, str]) -> Iterator[None]:
        pod = Trainer(environment)
        for _ in range(100):
            pod.beat()
            yield
        pod.end("_DONE", adapter_sha256="abc", steps=0)

    job = job_with(home, slow)
    stale_after(job, 0.1)
    assert drive(job)["adapter_sha256"] == "abc"


def test_a_pod_that_never_says_a_word_has_longer_to_boot(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(environment: dict[str, str]) -> Iterator[None]:
        for _ in range(60):
            yield
        Trainer(environment).end("_DONE", adapter_sha256="abc", steps=0)

    job = job_with(home, late, hangs)
    stale_after(job, 0.01)
    assert drive(job)["adapter_sha256"] == "abc"


def test_a_pod_that_never_boots_is_ended(home: Path) -> None:
    def mute(environment: dict[str, str]) -> Iterator[None]:
        while True:
            yield

    job = job_with(home, mute)
    provider_of(job).manners = Manners(look_every_s=0, second_look_s=0.002, boot_deadline_s=0.05)
    with pytest.raises(SpotInterrupted):
        drive(job)
    assert len(provider_of(job).terminated) == 1


def test_a_cancelled_pod_saves_and_the_job_is_cancelled(home: Path) -> None:
    job = job_with(home, obeys)

    def cancel(attempt: int) -> None:
        job.folder.request_stop("cancel", "Ann")

    with pytest.raises(JobCancelled, match="stopped by cancel"):
        train_once(job, cancel)
    assert outcomes(job) == ["stopped:cancel"]
    assert job.folder.checkpoints() == [2]


def test_a_pod_that_ignores_a_cancel_is_ended_and_not_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "STOP_DEADLINE_SECONDS", 0.05)
    job = job_with(home, hangs)
    with pytest.raises(JobCancelled):
        train_once(job, lambda attempt: job.folder.request_stop("cancel", "Ann"))
    assert len(provider_of(job).terminated) == 1
    assert outcomes(job) == ["stopped:cancel"]


def test_no_pod_is_rented_for_a_job_that_was_cancelled_between_two_pods(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    job.folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled):
        drive(job)
    assert len(provider_of(job).launched) == 1
    attempts.start_afresh(job)  # a person goes on later
    assert drive(job)["steps"] == 9


def test_a_job_cancelled_before_its_first_pod_rents_none(home: Path) -> None:
    job = job_with(home)
    job.folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled):
        drive(job)
    assert provider_of(job).launched == []


def test_a_stop_that_was_for_the_last_pod_does_not_stop_the_next(home: Path) -> None:
    job = job_with(home, finishes)
    job.folder.request_stop("switch", "the market watch")
    assert drive(job)["steps"] == 9


def test_a_pod_whose_hours_were_over_is_told_with_its_place_in_the_list_of_errors(
    home: Path,
) -> None:
    with pytest.raises(JobCancelled, match=OWN_LIMIT) as error:
        drive(job_with(home, ends_at_its_own_limit))
    assert error.value.fault == "time_limit"
    assert "docs/errors.md#time-limit" in str(error.value)


def test_the_hard_limit_stops_the_pod_and_asks_again(home: Path) -> None:
    job = job_with(home, obeys)
    job.folder.write_json("gate.json", {"by": "policy"})
    job.ledger.update_job("job-1", hard_limit_usd=Decimal("0.000001"))
    with pytest.raises(JobCancelled, match="budget"):
        drive(job)
    assert outcomes(job) == ["stopped:budget"]
    assert "hard limit" in str(job.folder.stop_request())
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")
    assert not job.folder.exists("estimate.json")
    assert job.folder.stop_request() is None


def month_used_up(job: JobContext) -> None:
    """By an earlier job of this month."""
    now = datetime.now(UTC)
    job.ledger.set_month_limit(f"{now:%Y-%m}", Decimal(5), set_by="Ann")
    job.ledger.create_job("job-0", JobRequest(training_file="x.json"))
    job.ledger.add_attempt(
        "job-0", 1, provider="local", market="spot", pod_name="p", usd_per_hour=Decimal(1),
        launched_at=now,
    )  # fmt: skip
    job.ledger.end_attempt("job-0", 1, now + timedelta(microseconds=1), "done", cost_usd=Decimal(5))


def test_a_used_up_month_stops_the_pod_after_a_checkpoint_and_asks_again(home: Path) -> None:
    job = job_with(home, obeys)
    job.folder.write_json("gate.json", {"by": "policy", "override_budget": False})
    month_used_up(job)
    with pytest.raises(JobCancelled, match=r"budget: .* in 20\d\d-\d\d: .* \$5.00 is reached"):
        drive(job)
    assert outcomes(job) == ["stopped:budget"]
    assert job.folder.checkpoints() == [2]
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")


def test_a_month_that_is_used_up_between_two_pods_rents_no_other_and_asks_again(
    home: Path,
) -> None:
    job = job_with(home, dies_at_step_5)
    job.folder.write_json("gate.json", {"by": "policy", "override_budget": False})
    with pytest.raises(SpotInterrupted):
        drive(job)
    month_used_up(job)
    alerts.check(job)
    with pytest.raises(JobCancelled, match="is reached"):
        drive(job)
    assert len(provider_of(job).launched) == 1
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")


def test_a_job_whose_approval_overrode_the_budget_is_not_stopped_by_the_month(home: Path) -> None:
    job = job_with(home, finishes)
    job.folder.write_json("gate.json", {"by": "Ann", "override_budget": True})
    month_used_up(job)
    assert drive(job)["steps"] == 9
    assert job.folder.stop_request() is None


def test_a_limit_that_does_not_pay_for_the_rest_ends_the_job_and_is_asked_for_again(
    home: Path,
) -> None:
    job = job_with(home, dies_at_step_5)
    market = {"market": "on_demand", "offered": True, "price": {"usd_per_hour": 50.0}}
    limit = Decimal("0.5")  # $50 an hour: half a minute, and the rest takes minutes
    job.ledger.update_job("job-1", estimate={"markets": [market]})
    launch(job)
    job.ledger.update_job("job-1", hard_limit_usd=limit)
    with pytest.raises(InterruptionError, match="going on would cost about"):
        drive(job)
    assert outcomes(job) == ["lost:no ending was written"]
    job.folder.write_json("gate.json", {"by": "policy"})
    attempts.start_afresh(job)
    assert not job.folder.exists("gate.json")


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


def test_a_driver_that_was_replaced_leaves_the_pod_to_its_successor(home: Path) -> None:
    job = job_with(home, hangs)
    ledger = job.ledger

    def taken_over(attempt: int) -> None:
        ledger.release_claim("job-1", driver_name())
        ledger.claim("job-1", "elsewhere:1", pid=1, host="elsewhere")
        object.__setattr__(job, "settings", job.settings.model_copy(update={"lease_seconds": 0}))

    with pytest.raises(DriverReplaced, match="elsewhere:1"):
        train_once(job, taken_over)
    assert len(provider_of(job).running) == 1
    assert provider_of(job).terminated == []
    assert len(job.ledger.open_attempts()) == 1


def test_the_lease_is_renewed_for_this_attempt(home: Path) -> None:
    job = job_with(home, dies_at_step_5, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    drive(job)
    lease = job.folder.read_json("control/lease.json")
    assert (lease["attempt"], lease["holder"], lease["seconds"]) == (2, driver_name(), 60)


def test_a_driver_says_often_enough_that_it_lives_however_long_the_lease_is(home: Path) -> None:
    """A rented pod's lease is 15 minutes: nobody on another host may believe its driver gone."""
    job = job_with(home)
    object.__setattr__(job, "settings", job.settings.model_copy(update={"lease_seconds": 900}))
    clock = vars(job)["clock"] = ManualClock()
    vars(job.ledger)["renew_claim"] = lambda *_: told.append(clock.monotonic()) or True
    job.ledger.add_attempt(
        "job-1", 1, provider="local", market="none", pod_name="p", usd_per_hour=Decimal(1),
        launched_at=clock.now(),
    )  # fmt: skip
    told: list[float] = []
    watch = Watch(job, job.ledger.attempts("job-1")[0], lambda _: None)
    vars(watch)["lost"] = lambda _: False
    for _ in range(60):
        assert not watch.ended()
        clock.sleep(5)
    pauses = [late - early for early, late in itertools.pairwise(told)]
    assert len(pauses) > 5
    assert max(pauses) < CLAIM_STALE_SECONDS / 3


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


def test_notes_of_two_processes_at_once_are_all_kept(home: Path) -> None:
    job = job_with(home)
    job.note("warning", {"message": "one"})
    stale = [0]  # what this process read before another one wrote number 1

    class Racing(Ledger):
        def last_seq(self, job_id: str, attempt: int) -> int:  # type: ignore[override]
            return stale.pop() if stale else super().last_seq(job_id, attempt)

    racing = JobContext(job.settings, Racing(job.ledger.engine, job.settings), "job-1")
    racing.note("warning", {"message": "two"})
    said = [e.payload["message"] for e in job.ledger.events("job-1", 0)]
    assert said == ["one", "two"]


def test_a_broken_gpu_is_a_lost_pod_and_another_one_goes_on(home: Path) -> None:
    job = job_with(home, loses_its_gpu, finishes)
    with pytest.raises(SpotInterrupted):
        drive(job)
    assert drive(job)["adapter_sha256"] == "abc"
    first, second = job.ledger.attempts("job-1")
    assert first.outcome == "lost:gpu_lost"
    assert second.outcome == "done"


def failing(job: JobContext, times: int) -> list[int]:
    """The run folder does not answer so many times when the lease is renewed."""
    left = [times]
    renew = job.folder.renew_lease

    def sometimes(*words: Any, **more: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise StorageError("the disk is away")
        renew(*words, **more)

    vars(job.folder)["renew_lease"] = sometimes
    return left


def test_a_storage_that_is_away_for_a_while_ends_neither_pod_nor_job(home: Path) -> None:
    job = job_with(home, finishes)
    launched = launch(job)
    left = failing(job, 3)
    assert drive(job)["steps"] == 9
    assert left == [0]
    assert len(provider_of(job).launched) == 1
    assert outcomes(job) == ["done"]
    began, ended = (e.payload for e in job.ledger.events("job-1", 0, "warning"))
    assert began["code"] == ended["code"] == "outage"
    assert "asked again for up to 10 minutes: the disk is away" in began["message"]
    assert "did not answer for" in ended["message"]
    assert "the disk is away" in ended["message"]
    assert launched.number == 1


def test_the_pods_silence_in_an_outage_does_not_count_against_it(home: Path) -> None:
    job = job_with(home, finishes)
    launch(job)
    stale_after(job, 0.02)
    failing(job, 5)
    assert drive(job)["steps"] == 9


def test_a_storage_that_stays_away_ends_the_job(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "OUTAGE_SECONDS", 0.05)
    job = job_with(home, hangs)
    launch(job)
    left = failing(job, 10**6)
    with pytest.raises(StorageError, match="the disk is away"):
        drive(job)
    assert left[0] < 10**6 - 1
    assert provider_of(job).running == {}


def test_a_job_cancelled_without_a_pod_stops_before_its_next_stage(home: Path) -> None:
    job = job_with(home)
    with job.stage("report", "reporting"):
        job.folder.request_stop("cancel", "Ann")
    with pytest.raises(JobCancelled, match="cancelled by Ann"), job.stage("package", "reporting"):
        pytest.fail("the stage began")
    job.folder.request_stop("budget", "the hard limit")  # costs nothing without a pod
    with job.stage("package", "reporting"):
        pass


def test_money_is_watched_while_a_pod_runs(home: Path) -> None:
    job = job_with(home, finishes)
    estimate = {"cost_usd": {"low": 1e-9, "likely": 1e-9, "high": 1.0}}
    job.ledger.update_job("job-1", estimate=estimate)
    drive(job)
    said = [e.payload for e in job.ledger.events("job-1", 0, "warning")]
    assert [p["threshold"] for p in said] == ["80", "95", "over_20"]
    assert {p["scope"] for p in said} == {"job-1"}
