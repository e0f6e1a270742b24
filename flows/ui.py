"""`make ui`: server, work pool, deployments, worker and report pages; Ctrl-C stops all of it.

Run by hand: `python -m flows.ui [--port 4200] [--reports-port 4280]`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from brightrun import locking, sharedserver
from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.ledger import Ledger
from brightrun.settings import CHECKOUT, Settings, load
from flows import deployed, server, tending
from flows.terminal import say
from reports import library

SERVER_SECONDS = 10
AUTOMATE_SECONDS = 120
DEPLOYED = (
    "finetune, estimate; pause, switch, cancel, resume, retry; reassess; overview, budget; "
    "nightly, digest, doctor, reap, reconcile"
)
LOCAL_NAMES = ("127.0.0.1", "localhost")


class ReportPages(SimpleHTTPRequestHandler):
    """The reports folder for this machine's browser alone; nothing is logged.

    refresh: writes the page over all jobs (index.html), whenever it is asked for.
    """

    def __init__(self, *args: Any, refresh: Callable[[], object], **more: Any) -> None:
        self.refresh = refresh
        super().__init__(*args, **more)

    def do_GET(self) -> None:
        if self.path in ("/", "/index.html"):
            try:
                self.refresh()
            except (BrightRunError, OSError) as error:
                say(f"The page over all reports may be old: {error}")
        super().do_GET()

    def parse_request(self) -> bool:
        """Refuse a page of somebody else that reaches us under another name (DNS rebinding)."""
        if not super().parse_request():
            return False
        if self.headers.get("Host", "").rpartition(":")[0] in LOCAL_NAMES:
            return True
        self.send_error(403, "Only as http://127.0.0.1")
        return False

    def log_message(self, format: str, *args: object) -> None:
        return

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()


@contextmanager
def serving_reports(
    folder: Path, port: int, refresh: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """Serve a folder on loopback from a thread; yields its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = partial(ReportPages, directory=str(folder), refresh=refresh)
    pages = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        pages.shutdown()
        pages.server_close()


def alone(settings: Settings) -> AbstractContextManager[None]:
    """One `make ui` per home, also while it is still starting."""

    def refusal() -> ConfigurationError:
        url = sharedserver.remembered(settings).get("api_url", "").removesuffix("/api")
        return ConfigurationError(
            f"`make ui` is already running for {settings.home.resolve()}",
            cause=f"it is at {url}" if url else "it is just starting",
            fix="use it, or stop it first",
        )

    return locking.alone(settings.prefect_home / "ui.lock", refusal)


@contextmanager
def serving_prefect(settings: Settings, port: int, mark: str) -> Iterator[str]:
    """A Prefect server with its web pages; yields its API URL."""
    server.isolate(settings)
    process, api_url = server.start(settings, port=port, ui_mark=mark)
    try:
        yield api_url
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(SERVER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def prefect(*arguments: str) -> None:
    """One call of Prefect's own command line; ConfigurationError with its last words."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise ConfigurationError(
            f"`prefect {' '.join(arguments)}` failed: {(done.stderr or done.stdout)[-400:].strip()}"
        )


def deploy_all(settings: Settings) -> None:
    """Everything in prefect.yaml, for the work pool and the clock of this environment."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(deployed.asked_in(settings))
        file.flush()
        prefect("deploy", "--all", "--prefect-file", file.name)


def up(settings: Settings, port: int, reports_port: int) -> None:
    """Start everything, print where it is, and work until Ctrl-C or SIGTERM."""
    home, mark = settings.home.resolve(), f"{os.getpid()}-{secrets.token_hex(4)}"
    reports = home / "reports"
    with alone(settings):
        server.must_be_free(port, "--port")
        server.must_be_free(reports_port, "--reports-port")
        say("Starting the Prefect server (10-20 s) ...")
        with (
            serving_reports(
                reports, reports_port, lambda: library.write(Ledger.open(settings), reports)
            ) as reports_url,
            serving_prefect(settings, port, mark) as api_url,
        ):
            os.environ.update(
                PREFECT_API_URL=api_url, BRIGHTRUN_HOME=str(home), REPORTS_URL=reports_url
            )
            prefect("work-pool", "create", settings.pool, "--type", "process", "--overwrite")
            deploy_all(settings)
            if said := automate():
                say(said, "yellow")
            record = sharedserver.remember(settings, api_url, reports_url)
            try:
                work(settings, api_url, reports_url, mark)
            finally:
                tending.hold_signals()
                record.unlink(missing_ok=True)


def automate() -> str:
    """Prefect's own rules (deployments/automations.yaml); without them the sweeps still work.

    What went wrong in words, "" if nothing did.
    """
    command = [sys.executable, "-m", "flows.automations"]
    try:
        subprocess.run(
            command,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
            timeout=AUTOMATE_SECONDS,
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error)[-300:].strip()
        return f"Prefect's automations could not be applied: {said}"
    return ""


def work(settings: Settings, api_url: str, reports_url: str, mark: str) -> None:
    """Say where everything is; keep a worker running until Ctrl-C."""
    ui = api_url.removesuffix("/api")
    say(f"Prefect:     {ui}", "bold")
    say(f"Deployments: {ui}/deployments  ({DEPLOYED})")
    say(f"Reports:     {reports_url}/", "bold")
    say("Ctrl-C stops all of it.")
    tending.tend(settings, api_url, mark)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings = load()
    parser.add_argument("--port", type=int, default=settings.ui_port, help="Prefect UI and API")
    parser.add_argument(
        "--reports-port", type=int, default=settings.reports_port, help="report pages"
    )
    options = parser.parse_args()
    tending.until_stopped(lambda: up(settings, options.port, options.reports_port), "Stopped.")


if __name__ == "__main__":
    main()
