"""The Prefect server of this checkout: a private one for a run in the terminal, or `make ui`'s.

State lives in `$BRIGHTRUN_HOME/prefect`; the user's own Prefect profile and cloud workspace are
never touched. Run by hand: `python -m flows.server --port 4200`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import httpx
from filelock import FileLock

from brightrun.errors import ConfigurationError
from brightrun.settings import CHECKOUT, Settings, load
from brightrun.sharedserver import remembered
from flows import worker

START_TIMEOUT_SECONDS = 120.0
LAST_WORDS_SECONDS = 30.0
PRIVATE: list[subprocess.Popen[bytes]] = []


def isolate(settings: Settings) -> None:
    """Point this process at our Prefect home. Call it before prefect is imported."""
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        del os.environ[name]
    settings.prefect_home.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        PREFECT_HOME=str(settings.prefect_home),
        PREFECT_PROFILES_PATH=str(settings.prefect_home / "profiles.toml"),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="false",
        PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT="false",
        PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL",
        PREFECT_RESULTS_DEFAULT_SERIALIZER="json",
        # A restart after the gate is the same flow run: a cached "waiting" would never go on.
        PREFECT_TASKS_DEFAULT_NO_CACHE="true",
        DO_NOT_TRACK="1",
    )


def shared_url(settings: Settings) -> str | None:
    """API URL of the team's server, else of a running `make ui`; None: it does not answer."""
    url = settings.prefect_url.rstrip("/") or remembered(settings).get("api_url")
    try:
        return url if url and httpx.get(f"{url}/health", timeout=5).status_code == 200 else None
    except httpx.HTTPError:
        return None


def run_page(settings: Settings, flow_run_id: str) -> tuple[str, bool]:
    """Address of a run's page, and whether a server answers there now.

    Without one it is where `make ui` will show the run: both keep their runs in one database.
    """
    api_url = shared_url(settings)
    root = api_url.removesuffix("/api") if api_url else f"http://127.0.0.1:{settings.ui_port}"
    return f"{root}/runs/flow-run/{flow_run_id}", api_url is not None


def ensure(settings: Settings) -> str:
    """API URL of a server for this process: the shared one when it is up, else a private one.

    The private one ends by itself when this process does, so that the last logs still reach it.
    """
    isolate(settings)
    url = shared_url(settings)
    if url is None:
        process, url = start(settings, port=free_port())
        PRIVATE.append(process)
    elif reports := remembered(settings).get("reports_url"):
        os.environ.setdefault("REPORTS_URL", reports)
    os.environ["PREFECT_API_URL"] = url
    return url


def start(
    settings: Settings, *, port: int, ui_mark: str = ""
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server that dies with this process; returns once it answers.

    The first start on a machine migrates the database: one at a time, under a lock. ui_mark: of
    `make ui` (see flows.worker); its server has web pages and waits for its runs to end.
    """
    api_url = f"http://127.0.0.1:{port}/api"
    with FileLock(settings.prefect_home / "start.lock"):
        log = (settings.prefect_home / "server.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.server", "--port", str(port)]
                + (["--ui", ui_mark] if ui_mark else []),
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to handle: the flow still reports its end
                env={**os.environ, "BRIGHTRUN_PARENT": str(os.getpid())},
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        with httpx.Client(timeout=5) as client:  # one: each reads the machine's certificates
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if client.get(f"{api_url}/health").status_code == 200:
                        return process, api_url
                except httpx.HTTPError:
                    time.sleep(0.2)
    process.kill()
    process.wait()
    raise ConfigurationError(
        f"the Prefect server did not start on port {port}",
        cause=f"see {settings.prefect_home / 'server.log'}",
        fix="free the port or the disk and try again",
    )


def migrated(settings: Settings) -> Path:
    """The file that says that Prefect's database is made for its version."""
    return settings.prefect_home / f"migrated-{version('prefect')}"


def migrate(settings: Settings) -> None:
    """Make Prefect's database, once per version of it: the first start is quicker then."""
    isolate(settings)
    done = migrated(settings)
    with FileLock(settings.prefect_home / "start.lock"):
        if done.exists():
            return
        from prefect.server.database import provide_database_interface

        asyncio.run(provide_database_interface().create_db())
        done.touch()


def must_be_free(port: int, option: str) -> None:
    """ConfigurationError when something listens there: its answers would be taken for ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used: {error.strerror}",
                cause="another program listens there, e.g. the `make ui` of another checkout",
                fix=f"stop it, or choose another port: python -m flows.ui {option} {port + 100}",
            ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with(parent: int, mark: str) -> None:
    """A server must not outlive the process it serves, even one that was killed with SIGKILL.

    With `make ui` the runs are stopped then; they still say here how they ended.
    """
    while os.getppid() == parent:
        time.sleep(1)
    patience = time.monotonic() + LAST_WORDS_SECONDS
    while mark and worker.marked(mark) and time.monotonic() < patience:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until the parent is gone."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--ui", default="", metavar="MARK", help="serve web pages; see flows.worker"
    )
    parser.add_argument("--migrate", action="store_true", help="only make the database, and end")
    options = parser.parse_args()
    if options.migrate:
        migrate(load())
        return
    pages = "true" if options.ui else "false"
    os.environ["PREFECT_UI_ENABLED"] = os.environ["PREFECT_SERVER_UI_ENABLED"] = pages
    # Their forms are all that blocks serve here; to enter them takes seconds in a new database.
    os.environ["PREFECT_SERVER_REGISTER_BLOCKS_ON_START"] = pages
    os.environ["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{options.port}/api"
    if parent := os.environ.pop("BRIGHTRUN_PARENT", ""):
        threading.Thread(target=_die_with, args=(int(parent), options.ui), daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    from flows import scheduling
    from flows.repeating import Repeating

    scheduling.mend()
    uvicorn.run(Repeating(create_app()), host="127.0.0.1", port=options.port, log_level="error")


if __name__ == "__main__":
    main()
