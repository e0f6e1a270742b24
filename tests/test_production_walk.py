"""docs/production.md's afternoon, walked: real Postgres, S3, Prefect and trainer, the rest fakes.

slow. WALK=FILE: what each step took, in seconds, one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import ROOT, brightrun, environment, furnish, ledger_at, shared_server, small_file
from fakes import supabase_storage
from fakes.mail import mail_server
from fakes.registry import registry
from fakes.runpod import Contract, FakeRunPod
from fakes.runpod.server import KEY
from fakes.slack import slack
from fakes.webhook import application
from s3_server import ADMIN, BUCKET, POD, s3_server

from brightrun import appfiles
from brightrun.clock import SystemClock
from brightrun.runfolder import sha256_file

pytestmark = [pytest.mark.heavy, pytest.mark.slow]


class Walk:
    """The commands with the settings that the steps have set so far, and what each one took."""

    def __init__(self, home: Path) -> None:
        self.home, self.set, self.took = home, dict[str, str](), dict[str, float]()

    @contextmanager
    def step(self, name: str, **settings: str) -> Iterator[None]:
        began = time.monotonic()
        self.set |= settings
        yield
        self.took[name] = round(time.monotonic() - began, 1)

    def run(self, *words: str) -> Any:
        done = brightrun(self.home, *words, "--json", **self.set)
        assert done.code in (0, 1), done.err
        return done.json

    def failing(self, *words: str) -> dict[str, str]:
        """What doctor or setup says that is wrong."""
        found = self.run(*words)["findings"]
        return {one["name"]: one["said"] for one in found if one["state"] == "fail"}


@contextmanager
def your_files(file: Path) -> Iterator[tuple[str, str]]:
    """A stub of a Supabase project with one training file: its URL and its key."""
    stub, name = supabase_storage.Storage(), "spring/training.json"
    row = dict.fromkeys(appfiles.COLUMNS) | {"id": "spring", "name": "Spring"}
    stub.rows = [{**row, "json_file_path": name}]
    stub.objects[f"training-files/{name}"] = (file.read_bytes(), "application/json")
    with supabase_storage.serving(stub) as url:
        yield url, supabase_storage.KEY


def image(told: dict[str, str]) -> tuple[Sequence[str], dict[str, str]]:
    """The trainer, as the image starts it."""
    return (sys.executable, "-m", "trainer"), {
        **told, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Those of every process while it lasts: what anybody on the machine can read."""
    seen, over = set[str](), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for one in psutil.process_iter(["cmdline"]):
                seen.add(" ".join(one.info["cmdline"] or ()))

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield seen
    finally:
        over.set()
        watch.join()


@contextmanager
def worker(home: Path, **settings: str) -> Iterator[None]:
    started = subprocess.Popen(
        [sys.executable, "-m", "flows.worker"], cwd=ROOT, env=environment(home, **settings),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        started.terminate()
        started.wait(60)


def test_the_afternoon_of_the_production_page_is_walked(
    tmp_path: Path, models: Path, migrated: Path
) -> None:
    from postgres_server import postgres_server

    home, file = furnish(tmp_path / "home", models, migrated), small_file(tmp_path)
    volume = shutil.copytree(models, tmp_path / "volume" / "models")
    walk, made = Walk(home), tmp_path / "network-volume.json"
    with ExitStack() as open_:
        databases = open_.enter_context(postgres_server(tmp_path / "postgres"))
        s3 = open_.enter_context(s3_server(tmp_path / "s3"))
        images = open_.enter_context(registry())
        runpod = FakeRunPod(image, SystemClock(), contract=Contract.load())
        fake, chat = open_.enter_context(runpod), open_.enter_context(slack())
        (inbox, mail), app = open_.enter_context(mail_server()), open_.enter_context(application())
        url = databases.fresh()
        with walk.step("1 this machine alone"):
            assert walk.failing("doctor") == {}
        with walk.step("2 ledger on Postgres", DATABASE_URL=url):
            assert walk.failing("setup") == {}
        with walk.step("3 storage on S3", **s3.environment()):
            assert walk.failing("setup") == {}
        rents = {
            "BRIGHTRUN_RUNPOD_API_KEY": KEY, "BRIGHTRUN_RUNPOD_REST_URL": fake.url,
            "BRIGHTRUN_RUNPOD_GRAPHQL_URL": fake.graphql_url,
            "BRIGHTRUN_RUNPOD_IMAGE": images.image(), "BRIGHTRUN_VOLUME_FILE": str(made),
            "BRIGHTRUN_RUNPOD_MODELS": str(volume), "BRIGHTRUN_RUNPOD_LOOK_SECONDS": "1",
            "BRIGHTRUN_RUNPOD_GONE_SECONDS": "2", "BRIGHTRUN_RUNPOD_BASE_MODEL": "tiny",
        }  # fmt: skip
        with walk.step("4 pods: keys, template", **s3.pod_environment(), **rents):
            assert walk.failing("setup") == {}
        with walk.step("4 network volume and NF4 copy"):
            told = walk.run("setup", "volume", "--yes")
        with walk.step("5 money", BRIGHTRUN_APPROVE_ABOVE_USD="50", BRIGHTRUN_TIME_ZONE="UTC"):
            assert walk.run("budget")["limit"] == 500
        hears = {
            "BRIGHTRUN_SLACK_TOKEN": "xoxb-1", "BRIGHTRUN_SLACK_CHANNEL": "C1",
            "BRIGHTRUN_SLACK_BASE_URL": chat.url, "BRIGHTRUN_WEBHOOK_URL": app.url,
            "BRIGHTRUN_WEBHOOK_SECRET": "walked-" * 5, **mail,
        }  # fmt: skip
        with walk.step("6 who hears of what", **hears):
            assert walk.failing("doctor", "--send") == {}
        assert (len(inbox.mails), len(chat.calls) > 0, len(app.calls)) == (1, True, 1)
        project, key = open_.enter_context(your_files(file))
        with walk.step("7 your application's files", SUPABASE_URL=project, SUPABASE_KEY=key):
            (listed,) = walk.run("files", "list")["supabase"]
            assert walk.run("files", "fetch", listed["name"])["name"] == "Spring"
            assert walk.failing("doctor") == {}
        with walk.step("8 Prefect: pool, deployments, automations, worker"):
            api = open_.enter_context(shared_server(home))
            assert walk.failing("setup") == {}
            open_.enter_context(worker(home, **walk.set, PREFECT_API_URL=api))
            until_well(walk)
        seen = open_.enter_context(command_lines())
        with walk.step("9 smoke test at the fake RunPod"):
            smoke = walk.run("train", "Spring", "--provider", "runpod", "--smoke", "--yes")
        assert smoke["status"] == "completed", smoke["error"]
        assert any("-m trainer" in line for line in seen)
        for secret in (KEY, key, ADMIN[1], POD[1], hears["BRIGHTRUN_WEBHOOK_SECRET"]):
            assert not [line for line in seen if secret in line]
        book = ledger_at(home, url)
        reasons = [e.payload["message"] for e in book.events(smoke["job_id"], 0, "choice")]
        assert any(said.startswith("weights stored nf4: tiny--nf4-h100") for said in reasons)
        loaded = [e.payload for e in book.events(smoke["job_id"], 1, "stage")]
        why = next(p["detail"]["reasons"] for p in loaded if p["name"] == "model_loading"
                   and p["status"] == "finished")  # fmt: skip
        assert any(said.startswith("weights stored nf4") for said in why)
        assert smoke["run_folder"].startswith(f"s3://{BUCKET}/")
        assert fake.account.alive() == []
    assert fake.violations == []
    there = volume / told["copy"]["folder"]
    assert sha256_file(there / "manifest.json") == told["copy"]["manifest_sha256"]
    if place := os.environ.get("WALK"):
        Path(place).write_text(json.dumps(walk.took, indent=1))


def until_well(walk: Walk) -> None:
    """A worker needs some seconds to say that it is there."""
    for _ in range(10):
        failing = walk.failing("doctor")
        if not failing:
            return
        assert set(failing) == {"worker"}, failing
    raise AssertionError("no worker came")
