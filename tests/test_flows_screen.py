"""The page that `brightrun watch` keeps: fresh while it runs, honest about its end."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from commands import inside
from rich.console import Console
from waiting import until

from brightrun.context import JobContext
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.runfolder import Event
from brightrun.settings import load
from flows import liveline, running, screen
from reports import jobcards, live

AGAIN = 'http-equiv="refresh"'


def test_the_page_goes_on_refreshing_without_a_job_and_says_when_watching_ended(
    home: Path, tmp_path: Path
) -> None:
    place, seen = tmp_path / "live.html", []

    def look_then_stop() -> None:
        until(place.exists, what="the page")
        seen.append(place.read_text())
        os.kill(os.getpid(), signal.SIGTERM)  # a closed terminal is no other end than Ctrl-C

    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    running.stop_like_ctrl_c()
    watcher = threading.Thread(target=look_then_stop)
    watcher.start()
    try:
        assert screen.watch_jobs("", place, once=False, quiet=True) == []
    finally:
        watcher.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert AGAIN in seen[0]
    assert AGAIN not in place.read_text()
    assert "ended at" in place.read_text()


def test_an_ended_job_ends_its_watch(home: Path, tmp_path: Path) -> None:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="file.json"))
    ledger.update_job("j1", status="failed")
    (told,) = screen.watch_jobs("j1", tmp_path / "live.html", once=False, quiet=True)
    assert told["status"] == "failed"
    assert AGAIN not in (tmp_path / "live.html").read_text()


def test_watch_in_a_pipe_says_lines_and_once_ends_with_a_newline(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.watch_jobs("", tmp_path / "live.html", once=True, quiet=False)
    Ledger.open(load()).create_job("j1", JobRequest(training_file="file.json"))
    screen.watch_jobs("", tmp_path / "live.html", once=True, quiet=False)
    none, line = capsys.readouterr().err.splitlines(keepends=True)
    assert none == "No active job.\n"
    assert line.startswith("Job j1:")
    assert line.endswith(" left)\n")


def test_watch_looks_for_the_job_before_it_says_anything(home: Path, tmp_path: Path) -> None:
    done = inside(home, "watch", "261122-abcdef")
    assert done.code == 1
    assert "Page:" not in done.err


def trained(losses: list[float], gpu: float | None = 87.0) -> JobContext:
    """A job whose pod told these losses and how busy its GPU was."""
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="file.json"))
    job = JobContext(load(), ledger, "j1")
    job.note("stage", {"name": "training", "status": "started"})
    for step, loss in enumerate(losses, start=1):
        job.note("metric", {"step": step, "total_steps": 9, "epoch": 0.1, "loss": loss})
    job.note("heartbeat", {"stage": "training", "gpu_percent": gpu})
    return job


@pytest.mark.parametrize(
    ("encoding", "drawn"), [("utf-8", "4.000 █▆▃▁ 1.000"), ("ascii", "4.000 #*-_ 1.000")]
)
def test_the_terminal_shows_the_loss_curve_and_the_gpu(
    home: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, drawn: str
) -> None:
    written = io.BytesIO()
    text = io.TextIOWrapper(written, encoding=encoding)
    terminal = Console(file=text, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(screen, "ERR", terminal)
    terminal.print(screen.view(trained([4.0, 3.0, 2.0, 1.0])))
    text.flush()
    assert f"loss {drawn}" in written.getvalue().decode(encoding)
    assert "GPU 87%" in written.getvalue().decode(encoding)


def test_a_pipe_gets_the_gpu_but_no_blocks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen.PlainLines().tell(trained([4.0, 1.0]))
    line = capsys.readouterr().err
    assert "loss 1.000" in line
    assert "GPU 87%" in line
    assert not set(liveline.BLOCKS) & set(line)


def test_a_pod_without_a_gpu_shows_none(home: Path) -> None:
    job = trained([4.0], None)
    assert "GPU" not in liveline.numbers(job, job.progress())


def test_a_long_curve_keeps_its_width_and_a_flat_or_short_one_is_drawn_too() -> None:
    falling = liveline.curve([(n, 500.0 - n) for n in range(500)])
    drawn = falling.split()[2]
    assert len(drawn) == liveline.CURVE_WIDTH
    assert list(drawn) == sorted(drawn, reverse=True)
    assert (drawn[0], drawn[-1]) == ("█", "▁")
    assert liveline.curve([(1, 2.0), (2, 2.0)]) == "loss 2.000 ▁▁ 2.000"
    assert liveline.curve([(1, 2.0)]) == ""


def test_a_plain_line_has_elapsed_and_remaining_time(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="file.json"))
    job = JobContext(load(), ledger, "j1")
    job.note("stage", {"name": "validate", "status": "started"})
    screen.PlainLines().tell(job)
    assert re.search(r"\(\d+ s, about .* left\)\n", capsys.readouterr().err)


def test_a_job_that_failed_before_its_next_step_is_not_called_resumed_anywhere(home: Path) -> None:
    job = trained([])
    for number, outcome in ((1, "lost:killed"), (2, "failed:trainer")):
        job.ledger.add_attempt(
            "j1", number, provider="local", market="spot", pod_name=f"br-j1-{number}-x",
            usd_per_hour=Decimal(1), launched_at=datetime.now(UTC),
        )  # fmt: skip
        job.ledger.end_attempt("j1", number, datetime.now(UTC), outcome)

    def said() -> list[str]:
        state = job.progress()
        page = live.page([screen.live_job(job)], datetime.now(UTC))
        return [liveline.numbers(job, state), jobcards.progress_card(state, "$0"), page]

    for text in said():
        assert "nterrupted 1x" in text
        assert "resumed" not in text
    payload = {"step": 1, "total_steps": 9, "epoch": 0.1, "loss": 2.0}
    step = {"seq": 1, "ts": datetime.now(UTC), "attempt": 2, "type": "metric", "payload": payload}
    job.ledger.ingest("j1", [Event.model_validate(step)])
    for text in said():
        assert "nterrupted 1x, resumed" in text
