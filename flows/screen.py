"""The live view of a job in the terminal, and the page that `watch` keeps fresh.

It reads the ledger only, so it shows the same for a job of this process or of another one.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from brightrun.accounts import bill_of
from brightrun.context import JobContext, open_job
from brightrun.errors import BrightRunError
from brightrun.ledger import Ledger, Status
from brightrun.progress import Progress
from brightrun.settings import load
from flows.liveline import curve, numbers
from flows.terminal import ERR, money, say, span
from reports import jobcards

if TYPE_CHECKING:
    from reports.live import LiveJob

PLAIN_SECONDS = 15.0
REFRESH_SECONDS = 1.0
MARKS = {"waiting": " ", "running": ">", "finished": "x", "failed": "!", "stopped": "-"}


def view(job: JobContext) -> RenderableType:
    """Stages with elapsed and remaining time, step, loss and its curve, GPU, cost so far."""
    state, row = job.progress(), job.ledger.job(job.job_id)
    grid = Table.grid(padding=(0, 2))
    for stage in state.stages:
        over = stage.status == "finished" or row.is_final
        left = "" if over else f"~{span(stage.remaining_s)} left"
        grid.add_row(
            Text(f"[{MARKS[stage.status]}]"),
            stage.name,
            ProgressBar(total=1.0, completed=stage.fraction, width=24),
            span(stage.elapsed_s) if stage.elapsed_s else "",
            left,
        )
    whole = Table.grid(padding=(0, 2))
    whole.add_row(
        Text(f"Job {job.job_id}", style="bold"),
        ProgressBar(total=1.0, completed=state.fraction, width=30),
        f"{state.fraction:.0%}",
        span(state.elapsed_s)
        if row.is_final
        else f"{span(state.elapsed_s)}, about {span(state.remaining_s)} left",
        row.stage if row.status == Status.queued else str(row.status),
    )
    line = Text(numbers(job, state), style="cyan")
    drawn = curve(state.losses, plain=ERR.options.ascii_only)
    return Group(whole, line, *([Text(drawn, style="cyan")] if drawn else []), grid, *notes(state))


def notes(state: Progress) -> list[RenderableType]:
    return [Text(f"Warning: {text}", style="yellow") for text in state.warnings[-2:]]


def say_estimate(facts: dict[str, Any]) -> None:
    """What a job is going to take and cost, where the price is from, and the warnings."""
    h, c, p = facts["hours"], facts["cost_usd"], facts["price"]
    say(
        f"Estimate: {span(h['low'] * 3600)} / {span(h['likely'] * 3600)} / "
        f"{span(h['high'] * 3600)}, {money(c['low'])} / {money(c['likely'])} / {money(c['high'])} "
        f"(low / likely / high) at {money(p['usd_per_hour'])}/h, {p['source']}, {p['as_of']}"
    )
    for line in jobcards.baseline_lines(facts):
        say(f"  {line}")
    for warning in facts["warnings"]:
        say(f"  Warning: {warning}", "yellow")


class PlainLines:
    """What a log or a pipe gets of a job: a line when its stage changes and every 15 seconds."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[str, float]] = {}

    def tell(self, job: JobContext, about: str = "") -> None:
        """about: which job it is, where there may be several."""
        state, now = job.progress(), time.monotonic()
        stage, at = self.said.get(job.job_id, (None, 0.0))
        if state.stage == stage and now - at <= PLAIN_SECONDS:
            return
        self.said[job.job_id] = (state.stage, now)
        times = span(state.elapsed_s)
        if not job.ledger.job(job.job_id).at_rest:
            times += f", about {span(state.remaining_s)} left"
        where = f"{about}{state.fraction:4.0%} {state.stage or 'starting'}"
        say(f"{where}: {numbers(job, state)}  ({times})")


class Screen:
    """A context that shows a job while other code runs; plain lines where there is no terminal."""

    def __init__(self, job_id: str, *, told: bool = False) -> None:
        self.job_id = job_id
        self.text = ""
        # Whether the estimate was shown.
        self.told = told
        self.stop = threading.Event()
        self.live = Live(console=ERR, auto_refresh=False, get_renderable=self.draw, transient=False)
        self.thread = threading.Thread(target=self.plain, daemon=True)
        if ERR.is_terminal:
            self.thread = threading.Thread(target=self.refresh, daemon=True)

    def note(self, text: str) -> None:
        """A line to show before there is a job."""
        self.text = text
        if text and not ERR.is_terminal:
            say(text)

    def tell_estimate(self) -> None:
        """Once, also when nobody is asked."""
        if self.told:
            return
        try:
            facts = open_job(self.job_id).ledger.job(self.job_id).estimate
        except BrightRunError:
            return
        if facts:
            self.told = True
            say_estimate(facts)

    def draw(self) -> RenderableType:
        try:
            return view(open_job(self.job_id))
        except BrightRunError:
            return Text(self.text or "Starting ...", style="dim")

    def refresh(self) -> None:
        while not self.stop.wait(REFRESH_SECONDS):
            self.tell_estimate()
            self.live.refresh()

    def plain(self) -> None:
        """A line when the stage changes and every 15 seconds."""
        lines = PlainLines()
        while not self.stop.wait(REFRESH_SECONDS):
            self.tell_estimate()
            try:
                lines.tell(open_job(self.job_id))
            except BrightRunError:
                continue

    def __enter__(self) -> Screen:
        if ERR.is_terminal:
            self.live.start()
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        self.thread.join(timeout=5)
        if ERR.is_terminal:
            self.live.refresh()
            self.live.stop()


def watch_jobs(wanted: str, page: Path, *, once: bool, quiet: bool) -> list[dict[str, Any]]:
    """Show one job or all active ones until they ended or Ctrl-C; keeps the page fresh."""
    only = open_job(wanted).job_id if wanted else ""
    shown: list[JobContext] = []
    lines, told_none = PlainLines(), False
    live = Live(console=ERR, auto_refresh=False)
    drawn: AbstractContextManager[Any] = live if ERR.is_terminal and not quiet else nullcontext()
    try:
        with drawn:
            while True:
                shown = active(only)
                write_page(page, shown)
                if not quiet and ERR.is_terminal:
                    views = [view(job) for job in shown]
                    live.update(Group(*views) if views else Text("No active job."), refresh=True)
                elif not quiet:
                    for job in shown:
                        lines.tell(job, f"Job {job.job_id}: ")
                    if not shown and not told_none:
                        say("No active job.")
                    told_none = not shown
                if once or (only and open_job(only).ledger.job(only).at_rest):
                    break
                time.sleep(REFRESH_SECONDS)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    finally:
        write_page(page, shown, watching=False)
    return [brief(job) for job in shown]


def write_page(place: Path, shown: list[JobContext], *, watching: bool = True) -> None:
    """The page of these jobs, which loads itself again while watch runs; appears whole."""
    from reports.live import page

    text = page([live_job(job) for job in shown], datetime.now(UTC), watching=watching)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(place)


def live_job(job: JobContext) -> LiveJob:
    from reports.jobcards import revised_sentence
    from reports.live import LiveJob, LiveStage
    from reports.moneywords import so_far

    bill = bill_of(job)
    row, state = job.ledger.job(job.job_id), job.progress()
    revised = job.revised(state)
    estimate = revised or row.estimate or {}
    return LiveJob(
        job_id=job.job_id,
        name=row.name or row.training_file.rsplit("/", 1)[-1],
        status=str(row.status),
        percent=state.fraction * 100,
        stages=tuple(
            LiveStage(s.name, s.status, s.expected_s, s.elapsed_s, s.fraction) for s in state.stages
        ),
        epoch=state.epoch,
        epochs=job.request.values.epochs,
        step=state.step,
        total_steps=state.total_steps,
        loss=state.losses,
        validation_loss=state.validation_losses,
        learning_rate=state.learning_rate,
        eta_seconds=state.remaining_s,
        elapsed_seconds=state.elapsed_s,
        cost_usd=float(bill.usd),
        money=f"Cost so far {so_far(bill, row.estimate or {})}" if bill.pods else "",
        estimate_usd=estimate.get("cost_usd", {}).get("likely"),
        revised=revised_sentence(revised) if revised else "",
        notional=row.provider == "local",
        gpu_percent=state.gpu_percent,
        memory_mb=state.memory_mb,
        interruptions=state.interruptions,
        resumed=state.resumed,
        warnings=state.warnings,
    )


def active(only: str) -> list[JobContext]:
    """The jobs to show: the wanted one, or all that are not final."""
    settings = load()
    if only:
        return [open_job(only)]
    ledger = Ledger.open(settings)
    return [JobContext(settings, ledger, r.job_id) for r in ledger.jobs(200) if not r.at_rest]


def brief(job: JobContext) -> dict[str, Any]:
    state = job.progress()
    return {
        "job_id": job.job_id,
        "status": str(job.ledger.job(job.job_id).status),
        **state.model_dump(mode="json", exclude={"losses", "validation_losses"}),
        "cost_usd": float(job.ledger.cost_so_far(job.job_id, datetime.now(UTC))),
        "revised": job.revised(state),
    }
