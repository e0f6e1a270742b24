"""`make ui`: server, work pool, deployments, worker and report pages; Ctrl-C stops all of it.

Run by hand: `python -m flows.ui [--port 4200] [--reports-port 4280]`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from brightrun.errors import BrightRunError, ConfigurationError
from brightrun.settings import CHECKOUT, Settings, load
from flows import server
from flows.terminal import complain, say

POOL = "brightrun-local"
STOP_SECONDS = 15


class ReportPages(SimpleHTTPRequestHandler):
    """The reports folder on loopback, without listing it to other machines or to the log."""

    def log_message(self, format: str, *args: object) -> None:
        return

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()


def serve_reports(folder: Path, port: int) -> ThreadingHTTPServer:
    """Serve a folder on 127.0.0.1 from a thread."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = ThreadingHTTPServer(("127.0.0.1", port), partial(ReportPages, directory=str(folder)))
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    return pages


def prefect(*arguments: str) -> None:
    """One call of Prefect's own command line; ConfigurationError with its last words."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(
            f"`prefect {' '.join(arguments)}` failed: {(done.stderr or done.stdout)[-400:].strip()}"
        )


def start_worker() -> subprocess.Popen[bytes]:
    """A process worker; its runs inherit the environment that is set here."""
    return subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--limit", "4"],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"},
    )


def up(settings: Settings, port: int, reports_port: int) -> None:
    """Start everything, print where it is, wait for Ctrl-C or SIGTERM, stop everything."""
    home = settings.home.resolve()
    if server.shared_url(settings) is not None:
        raise ConfigurationError(
            f"a server for {home} is already up",
            fix="use it, or stop the other `make ui` first",
        )
    say("Starting the Prefect server (10-20 s) ...")
    server.isolate(settings)
    process, api_url = server.start(settings, port=port, ui=True)
    record = server.remember(settings, api_url)
    os.environ.update(
        PREFECT_API_URL=api_url,
        BRIGHTRUN_HOME=str(home),
        REPORTS_URL=f"http://127.0.0.1:{reports_port}",
    )
    pages = serve_reports(home / "reports", reports_port)
    worker: subprocess.Popen[bytes] | None = None
    try:
        prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
        prefect("deploy", "--all")
        worker = start_worker()
        ui = api_url.removesuffix("/api")
        say(f"Prefect:     {ui}", "bold")
        say(f"Deployments: {ui}/deployments  (finetune, estimate)")
        say(f"Reports:     http://127.0.0.1:{reports_port}/", "bold")
        say("Ctrl-C stops all of it.")
        worker.wait()
    except KeyboardInterrupt:
        say("Stopping ...")
    finally:
        record.unlink(missing_ok=True)
        pages.shutdown()
        for child in (worker, process):
            stop(child)


def stop(child: subprocess.Popen[bytes] | None) -> None:
    """SIGINT lets a worker finish its books; what does not go is killed."""
    if child is None or child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def interrupted(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C: everything that was started is stopped."""
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4200, help="Prefect UI and API")
    parser.add_argument("--reports-port", type=int, default=4280, help="report pages")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    try:
        up(load(), options.port, options.reports_port)
    except BrightRunError as error:
        complain(error, as_json=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
