"""A whole run by a worker: `make ui` takes the job, its worker is killed, and all that works.

First the worker alone: its run goes on without it. Then the worker together with its run, as when
the machine's memory is out: the run is put back into the queue, and another process goes on.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import psutil
import ui_browser as ui
from chaos_judge import Result
from commands import brightrun, ledger
from runpod_flow import works
from waiting import until

from flows.worker import MARK, PARENT, environment_of

PATIENCE_S = 900.0


def by_a_worker(
    home: Path, wish: tuple[str, ...], account: dict[str, str], chance: random.Random, out: Result
) -> str:
    """The id of the job, once it has ended."""
    with ui.make_ui(home, **account) as running:
        sent = brightrun(home, "train", *wish, "--detach", "--yes", **account)
        assert sent.code == 0, sent.err
        job_id, book = str(sent.json["job_id"]), ledger(home)

        def over() -> bool:
            return book.job(job_id).at_rest

        def heard() -> int:
            """Steps that the run, and no other process, has written down."""
            return len(book.events(job_id, type="metric"))

        if works(home, job_id, over):
            time.sleep(chance.uniform(0.0, 2.0))
            runs = [p for p in everything(running.process.pid) if not is_worker(p)]
            kill(workers(running.process.pid), out)
            before = heard()
            until(lambda: over() or heard() > before, PATIENCE_S, "a step without the worker")
            assert over() or any(run.is_running() for run in runs)
        if works(home, job_id, over):
            time.sleep(chance.uniform(0.0, 2.0))
            kill(everything(running.process.pid), out)
        until(over, PATIENCE_S, f"job {job_id} has ended, see {running.log}")
    return job_id


def kill(victims: list[psutil.Process], out: Result) -> None:
    assert victims, "there is nothing to kill"
    for process in victims:
        out.faults["worker_killed" if is_worker(process) else "run_killed"] += 1
        process.kill()


def everything(ui_pid: int) -> list[psutil.Process]:
    """The workers of this `make ui` and their runs, whoever started these; not the pods."""
    found = psutil.process_iter()
    return [p for p in found if environment_of(p).get(MARK, "").startswith(f"{ui_pid}-")]


def workers(ui_pid: int) -> list[psutil.Process]:
    return [process for process in everything(ui_pid) if is_worker(process)]


def is_worker(process: psutil.Process) -> bool:
    return PARENT in environment_of(process)
