"""One run: a job at an account where everything goes wrong, and what must be true afterwards."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from chaos_account import ChaosRunPod, Happenings
from chaos_driver import JOB, job_at, settings_of, start
from chaos_judge import Result, judge
from chaos_schedule import DriverKill, Schedule
from chaos_world import World
from runpod_rentals import SPEC, estimate

from brightrun import reaper
from brightrun.errors import ConfigurationError
from brightrun.jobs import JobRequest, Market
from brightrun.ledger import Ledger
from flows import sweeper

REAL_SECONDS = 240.0
REAPER_S, REAPER_PASSES = 300.0, 24
# A pod whose driver does not come back: its lease, and two passes of the reaper.
LEFT_ALONE_S = 900.0 + 2 * REAPER_S
# Ends that are stated and legitimate: by class of error.
LEGITIMATE = {
    "cancelled": "a person or the hard limit stopped it",
    "paused": "a person paused it",
    "interruption": "recovery gave it up",
    "capacity": "no machine was to be had",
    "refused": "no machine was to be had",
    "balance_empty": "no credit",
    "storage": "the storage was away for longer than 10 minutes",
    "abandoned": "its driver was killed and nobody started another",
}
# Of the class "configuration" only what preflight says, and a pool that the account may not use. A
# 401, 404, 409 or 422 that ends a job is a bug of ours.
CONFIGURED = (
    re.compile(rf"job {JOB} cannot be sent to runpod yet:\n"),
    re.compile(
        r"(all \d+ candidates refused|the only candidate refused \d+ times) in the same words: "
        "RunPod refused: POST /v2/pods: 403 "
    ),
)


def run(schedule: Schedule, place: Path, template: Path) -> Result:
    """Drive the job of a schedule to its end and judge it."""
    began = time.monotonic()
    home = place / f"seed-{schedule.seed}"
    shutil.copytree(template, home)
    world = World()
    happenings = Happenings(world, schedule, home / "storage", JOB)
    result = Result(schedule.seed)
    with happenings.fake as fake:
        prepare(home, world, fake, schedule)
        end = drive_to_end(home, world, fake, schedule, result)
        world.sleep(1)
        clear_up(home, world, fake, schedule, end, result)
        judge(home, world, fake, schedule, result)
        result.violations += fake.violations
        result.faults += fake.account.mischief.done
    result.faults += happenings.done
    result.seconds = time.monotonic() - began
    return result


def template(place: Path) -> Path:
    """A home with a migrated ledger, made once."""
    home = place / "template"
    Ledger.open(settings_of(home)).close()
    return home


def prepare(home: Path, world: World, fake: ChaosRunPod, schedule: Schedule) -> None:
    """The job as the gate leaves it."""
    job = job_at(home, fake.url, world, schedule.seed)
    wish = JobRequest(training_file="x.json", provider="runpod", market=Market(schedule.market))
    job.ledger.create_job(JOB, wish)
    prices = {"spot": 1.25, "on_demand": 2.39}
    offered = {"spot": schedule.spot_offered, "on_demand": True}
    market = schedule.market if offered[schedule.market] else "on_demand"
    markets = [
        {
            "market": name, "offered": offered[name], "price": {"usd_per_hour": usd},
            "interruptions_per_hour": {"likely": 0.3 if name == "spot" else 0.0},
        }
        for name, usd in prices.items()
    ]  # fmt: skip
    agreed = estimate(prices[market], market, markets=markets, interruption_s={"likely": 120.0})
    job.ledger.update_job(JOB, estimate=agreed, hard_limit_usd=Decimal(str(schedule.limit_usd)))
    job.folder.write_json("spec.json", {"spec": SPEC})
    job.folder.write_json("estimate.json", agreed)
    job.folder.write_json("gate.json", {"hard_limit_usd": schedule.limit_usd})


def drive_to_end(
    home: Path, world: World, fake: ChaosRunPod, schedule: Schedule, result: Result
) -> dict[str, Any]:
    """Driver after driver, until one says how the job ended or nobody starts another."""
    kills, resumed = list(schedule.kills), False
    while True:
        kill = kills.pop(0) if kills else None
        end = one_driver(home, world, fake, schedule, kill)
        if end is None:
            result.faults["flow_killed"] += 1
            assert kill is not None
            result.undriven_s += LEFT_ALONE_S if kill.back_s is None else kill.back_s
            if kill.back_s is None:
                return {"status": "abandoned", "code": "abandoned", "message": "driver killed"}
            world.sleep(kill.back_s)
        elif end["status"] in ("completed", "unforeseen", "hangs"):
            return end
        elif end["status"] == "refused":  # a person's command that did not work is given again
            world.sleep(REAPER_S)
        elif schedule.resumed_after_s is None or resumed:
            return end
        else:
            resumed = True
            result.faults["gone_on_by_a_person"] += 1
            world.sleep(schedule.resumed_after_s)


def one_driver(
    home: Path, world: World, fake: ChaosRunPod, schedule: Schedule, kill: DriverKill | None
) -> dict[str, Any] | None:
    """What a driver said at its end; None: it was killed."""
    fake.killed, fake.orders = False, kill if kill is not None and kill.request else None
    fake.asked.clear()
    pid, line = start(home, fake.url, world.passed, schedule.seed)
    fake.driver = pid
    if kill is not None and not kill.request:
        world.at(world.passed + kill.at, lambda: fake.kill() if fake.driver == pid else None)
    try:
        return attend(world, line, fake, time.monotonic() + REAL_SECONDS)
    finally:
        fake.driver = fake.orders = None
        line.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def attend(
    world: World, line: socket.socket, fake: ChaosRunPod, deadline: float
) -> dict[str, Any] | None:
    """Let time pass as the driver sleeps, until it ends."""
    words = b""
    while True:
        ready, _, _ = select.select([line], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return {"status": "hangs", "message": f"no word for {REAL_SECONDS:.0f} real seconds"}
        try:
            heard = line.recv(65536)
        except ConnectionResetError:
            heard = b""
        if not heard:
            if not fake.killed:
                return {"status": "unforeseen", "message": "the driver vanished; see driver.log"}
            return None
        words += heard
        if not words.endswith(b"\n"):
            continue
        said, words = json.loads(words), b""
        if "end" in said:
            return dict(said["end"])
        world.sleep(said["sleep"])
        if fake.killed:
            return None
        try:
            line.sendall(json.dumps({"passed": world.passed}).encode() + b"\n")
        except BrokenPipeError:
            continue


def legitimate(end: dict[str, Any]) -> bool:
    """Whether a job that was not completed ended for a reason that is stated and right."""
    code, message = str(end.get("code", "")), str(end.get("message", ""))
    if code == ConfigurationError.code:
        return any(words.match(message) for words in CONFIGURED)
    return code in LEGITIMATE


def clear_up(
    home: Path,
    world: World,
    fake: ChaosRunPod,
    schedule: Schedule,
    end: dict[str, Any],
    result: Result,
) -> None:
    """The reaper's passes, five minutes apart, until nothing is left; then the sweeper."""
    result.status, result.reason = end["status"], f"{end.get('code', '')}: {end.get('message', '')}"
    if end["status"] != "completed" and not legitimate(end):
        result.violations.append(f"ended as {end['status']}: {end.get('message')}")
    job = job_at(home, fake.url, world, schedule.seed)
    for _ in range(REAPER_PASSES):
        world.sleep(REAPER_S)
        try:
            reaper.reap(job.ledger, "runpod", job.provider, world)
            undriven = end["status"] == "abandoned" and not job.ledger.job(JOB).is_final
            if undriven and not fake.account.alive():
                sweeper.ended_without_word(job, "CRASHED")
        except Exception as error:  # noqa: BLE001 the next pass looks again
            result.faults[f"reaper pass failed: {type(error).__name__}"] += 1
        if not fake.account.alive() and not job.ledger.open_attempts():
            return
