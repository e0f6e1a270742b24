"""What people see of a running pod: its two cards and its story in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from brightrun import accounts
from brightrun.context import JobContext
from brightrun.errors import SpotInterrupted
from brightrun.ledger import EventRow
from brightrun.outages import unless_away
from brightrun.progress import Progress
from reports import formats, jobcards, moneywords
from tasks import artifacts, story

REWRITE_SECONDS = 60.0
STEP_SECONDS = 5.0
PROGRESS, SHOWS = "progress", "Stages, step, loss and cost so far"


@contextmanager
def watched(job: JobContext) -> Iterator[Board]:
    """A board for as long as a pod is followed; a lost pod is told before it is raised again.

    A ledger that is away at the end costs a card, and does not hide how the pod ended.
    """
    board = job.waited_out(lambda: Board(job))
    try:
        try:
            yield board
        finally:
            unless_away(board.close)
    except SpotInterrupted:
        unless_away(lambda: story.tell(lost_sentence(job), story.WARNING))
        raise


class Board:
    """Cards are rewritten every minute and at stage changes; log lines follow within seconds."""

    def __init__(self, job: JobContext) -> None:
        self.job = job
        self.seen = max((event.id for event in job.ledger.events(job.job_id)), default=0)
        self.attempt = 0
        self.told_step = -STEP_SECONDS
        self.step: EventRow | None = None
        state = job.progress()
        self.progress = artifacts.publish(PROGRESS, progress_card(self.job, state), SHOWS)
        self.curve = artifacts.publish("loss-curve", jobcards.loss_card(state), "Loss by step")
        self.written = job.clock.monotonic()

    def tick(self, attempt: int) -> None:
        """About once a second while the pod of this attempt runs."""
        if attempt != self.attempt:
            story.tell(pod_sentence(attempt, self.job.folder.read_json(_launch(attempt))))
            self.attempt = attempt
        if self.relay() or self.job.clock.monotonic() - self.written >= REWRITE_SECONDS:
            self.rewrite()

    def relay(self) -> bool:
        """Tell what is new in the ledger; True when a stage began or ended."""
        changed = False
        for event in self.job.ledger.events(self.job.job_id, after_id=self.seen):
            self.seen = max(self.seen, event.id)
            if event.attempt == 0:
                if event.type == "choice":
                    story.tell(str(event.payload["message"]))
                if event.type == "warning":
                    story.tell(str(event.payload.get("message", "")), story.WARNING)
                continue
            changed = changed or event.type == "stage"
            if event.type == "metric" and "loss" in event.payload:
                self.step = event
            if event.payload.get("what") == "calibrated":
                self.revise()
            if (line := story.sentence(event)) is not None:
                story.tell(line[1], line[0])
        now = self.job.clock.monotonic()
        # A step that comes too soon after the last is told later, not dropped.
        if self.step is not None and now - self.told_step >= STEP_SECONDS:
            self.told_step = now
            story.tell(story.step_sentence(self.step))
            self.step = None
        return changed

    def revise(self) -> None:
        """The estimate's card, with what the pod has measured."""
        found = self.job.revised(self.job.progress())
        if found is None:
            return
        facts = self.job.folder.read_json("estimate.json")
        artifacts.publish("estimate", jobcards.estimate_card(facts, found), "Revised by the pod")
        story.tell(jobcards.revised_sentence(found))

    def close(self) -> None:
        """The pod ended: its last events and the cards as they stay."""
        self.relay()
        self.rewrite()

    def rewrite(self) -> None:
        state = self.job.progress()
        artifacts.rewrite(self.progress, progress_card(self.job, state))
        artifacts.rewrite(self.curve, jobcards.loss_card(state))
        self.written = self.job.clock.monotonic()


def progress_card(job: JobContext, state: Progress) -> str:
    """The card as it is now; that of an ended or paused job says so first."""
    row = job.ledger.job(job.job_id)
    ended = str(row.status) if row.at_rest else ""
    if ended and row.error is not None:
        ended += f": {row.error['message']}"
    money = moneywords.so_far(accounts.bill_of(job), row.estimate or {})
    return jobcards.progress_card(state, money, ended)


@contextmanager
def stage(job: JobContext, name: str, status: str) -> Iterator[None]:
    """`JobContext.stage` with the card rewritten at its beginning and end."""
    with job.stage(name, status):
        unless_away(show, job)
        yield
    unless_away(show, job)


def show(job: JobContext) -> None:
    """The progress card of the running task's run, as it is now."""
    artifacts.publish(PROGRESS, progress_card(job, job.progress()), SHOWS)


def pod_sentence(attempt: int, launched: dict[str, Any]) -> str:
    """Which pod runs, at what price, and from which step it goes on."""
    step = launched["resumes_from"]
    price = formats.usd(float(launched["price"]["usd_per_hour"]))
    begin = f"resumes from the checkpoint of step {step}" if step else "starts at step 0"
    return f"Pod {attempt} is {launched['pod']}, {price} per hour; it {begin}"


def lost_sentence(job: JobContext) -> str:
    """The interruption: which pod, at which step, where the next one goes on."""
    last = job.ledger.attempts(job.job_id)[-1]
    newest = max(job.folder.checkpoints(), default=0)
    onward = f"the checkpoint of step {newest}" if newest else "the beginning"
    return (
        f"Interrupted: pod {last.number} ended at step {last.last_step or 0} "
        f"({last.outcome.replace(':', ': ')}). "
        f"A new pod goes on from {onward}"
    )


def _launch(attempt: int) -> str:
    return f"attempts/{attempt}/launch.json"
