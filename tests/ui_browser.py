"""A running `make ui` and a person in front of it: what the browser test needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from commands import ROOT, environment
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from flows.server import free_port

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
# A page to wait on: the run's page draws itself anew all the time, without a GPU on the cores that
# the run needs.
NOTHING = "about:blank"
START_SECONDS = 150.0
STOP_SECONDS = 60.0


class Ui:
    """A started `make ui`: its addresses, its output and Prefect's API."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.home, self.process, self.log = home, process, log
        self.url = f"http://127.0.0.1:{port}"

    def api(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST with a body, GET without."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"{self.url}/api{path}", data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return json.load(answer)

    def deployment(self, name: str) -> str:
        found = self.api(f"/deployments/name/{name}/{name}")
        return str(found["id"])

    def newest_run(self) -> dict[str, Any]:
        """Of the job's flow; schedules have made runs of others."""
        asked = {"flows": {"name": {"any_": ["finetune"]}}, "sort": "EXPECTED_START_TIME_DESC"}
        runs = self.api("/flow_runs/filter", {**asked, "limit": 1})
        return dict(runs[0]) if runs else {}

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """A run of a deployment; its id."""
        path = f"/deployments/{self.deployment(deployment)}/create_flow_run"
        return str(self.api(path, {"parameters": parameters})["id"])

    def set_state(self, run: str, type_: str, name: str) -> None:
        """As the Cancel and Retry buttons do; the server may answer with another state of its own.

        A suspended run has no process to cancel: "Cancelling" is replaced by "Cancelled".
        """
        self.api(f"/flow_runs/{run}/set_state", {"state": {"type": type_, "name": name}})

    def resume(self, run: str, answer: dict[str, Any]) -> None:
        """Submit the form of a suspended run."""
        done = self.api(f"/flow_runs/{run}/resume", {"run_input": answer})
        assert done["status"] == "ACCEPT", done

    def wait_for(self, run: str, *names: str, seconds: float) -> dict[str, Any]:
        """The run in one of these states; fails at once when it ended in another one."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.api(f"/flow_runs/{run}")
            if found["state"]["name"] in names:
                return dict(found)
            ended = found["state"]["type"] in ("FAILED", "CRASHED", "CANCELLED")
            assert not ended, found["state"]["message"]
            time.sleep(0.5)
        raise AssertionError(f"after {seconds:g} s the run is {found['state']['name']}")

    def artifacts(self, run: str) -> list[dict[str, Any]]:
        return list(self.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}}))

    def logs(self, run: str) -> str:
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.api("/logs/filter", wanted))


@contextmanager
def make_ui(home: Path, **more: str) -> Iterator[Ui]:
    """`python -m flows.ui` on free ports; stopped by its pid."""
    home.mkdir(parents=True, exist_ok=True)
    port, reports = free_port(), free_port()
    log = home / "ui.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.ui", "--port", str(port), "--reports-port", str(reports)],
            cwd=ROOT,
            env=environment(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while "Ctrl-C stops" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield Ui(home, process, port, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that work for this home: server, worker, runs, pods."""
    found = []
    for process in psutil.process_iter():
        try:
            known = process.environ()
            ours = known.get("BRIGHTRUN_HOME") == str(home) or str(home) in known.get(
                "STORAGE_URL", ""
            )
            if ours and process.pid != os.getpid():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """Debian's Chromium; playwright's own cannot be downloaded everywhere."""
    with sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def field(page: Page, place: Page | Locator, title: str) -> Locator:
    """A field of a Prefect form by its title."""
    exact = re.compile(rf"^{re.escape(title)}( \(Optional\))?$")
    label = page.locator(".schema-form-property__label", has_text=exact)
    return place.locator(".schema-form-property", has=label).last


def write(page: Page, title: str, text: str) -> None:
    field(page, page, title).locator("textarea, input").first.fill(text)


def choose(page: Page, title: str, choice: str) -> None:
    """Pick from a list; it opens by the keyboard (a synthetic click closes it again)."""
    field(page, page, title).locator("button.p-select-button__control").press("Space")
    page.locator(".p-select-option").get_by_text(choice, exact=True).click()


def override(page: Page, title: str, number: int) -> None:
    """Set an optional number: choose its type, then type it."""
    place = field(page, page, title)
    place.get_by_role("button", name="int", exact=True).click()
    place.locator("input").first.fill(str(number))
