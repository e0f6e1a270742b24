"""Processes around a Prefect server: ports, marks, pages, one `make ui` per home."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from brightrun import sharedserver
from brightrun.errors import ConfigurationError, StorageError
from brightrun.jobs import JobRequest
from brightrun.ledger import Ledger
from brightrun.settings import Settings, load
from flows import server, ui, worker
from reports import library


def test_a_used_port_is_named_with_the_option_that_changes_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} cannot be used") as caught:
            server.must_be_free(port, "--reports-port")
        assert "--reports-port" in caught.value.fix
    server.must_be_free(port, "--port")


def test_a_second_make_ui_of_a_home_is_told_where_the_first_is(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with ui.alone(settings):
        record = sharedserver.remember(settings, "http://127.0.0.1:1/api", "http://127.0.0.1:2")
        with pytest.raises(ConfigurationError, match="already running") as caught, \
                ui.alone(settings):  # fmt: skip
            pass
        assert "http://127.0.0.1:1" in caught.value.cause
    record.unlink()
    with ui.alone(settings):
        assert sharedserver.remembered(settings) == {}


def test_a_dead_shared_server_is_not_used(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.prefect_home.mkdir(parents=True)
    sharedserver.remember(settings, f"http://127.0.0.1:{server.free_port()}/api", "")
    assert server.shared_url(settings) is None


def test_the_database_is_made_once_per_version(migrated: Path, tmp_path: Path) -> None:
    """`make setup` may run again: the second time is quick, and a first start finds it all."""
    home = tmp_path / "home"
    shutil.copytree(migrated, home)
    database, (mark,) = home / "prefect" / "prefect.db", home.glob("prefect/migrated-*")
    before, name = database.read_bytes(), mark.name
    again = subprocess.run(
        [sys.executable, "-m", "flows.server", "--migrate"], cwd=server.CHECKOUT,
        env={**os.environ, "BRIGHTRUN_HOME": str(home)}, capture_output=True, timeout=300,
    )  # fmt: skip
    assert (again.returncode, again.stdout, again.stderr) == (0, b"", b"")
    assert database.read_bytes() == before
    assert [place.name for place in home.glob("prefect/migrated-*")] == [name]
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("SELECT COUNT(*) FROM flow_run").fetchone() == (0,)


def test_reports_are_served_to_this_machine_only(tmp_path: Path) -> None:
    folder, port = tmp_path / "reports", server.free_port()
    with ui.serving_reports(folder, port) as url:
        (folder / "job").mkdir()
        (folder / "job" / "report.html").write_text("<p>fine</p>")
        (tmp_path / "secret").write_text("x")
        page = httpx.get(f"{url}/job/report.html")
        assert (page.status_code, page.text) == (200, "<p>fine</p>")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        rebound = httpx.get(f"{url}/job/report.html", headers={"Host": "evil.example:80"})
        assert rebound.status_code == 403
        assert httpx.get(f"{url}/%2e%2e/secret").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/job/report.html")


def test_the_page_over_all_jobs_is_made_when_it_is_asked_for(home: Path) -> None:
    """Not a list of folders, and never an old one."""
    ledger, folder = Ledger.open(load()), home / "reports"
    with ui.serving_reports(
        folder, server.free_port(), lambda: library.write(ledger, folder)
    ) as url:
        assert "Spring" not in httpx.get(f"{url}/").text
        ledger.create_job("j1", JobRequest(training_file="f.json", name="Spring"))
        assert "Spring" in httpx.get(f"{url}/").text


def test_an_old_page_is_better_than_none_while_the_ledger_is_away(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "reports"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("as it was")

    def away() -> None:
        raise StorageError("the ledger is away")

    with ui.serving_reports(folder, server.free_port(), away) as url:
        assert httpx.get(f"{url}/").text == "as it was"
    assert "may be old: the ledger is away" in "".join(capsys.readouterr())


def test_marked_processes_are_found_and_ended_whatever_they_ignore() -> None:
    """A run that ignores SIGTERM is killed; another `make ui`'s process is left alone."""
    stubborn = (
        "import signal,time;signal.signal(15,signal.SIG_IGN);print(1,flush=True);time.sleep(60)"
    )
    mine = sleeper("mark-a", stubborn)
    other = sleeper("mark-b", "import time;print(1,flush=True);time.sleep(60)")
    try:
        assert [p.pid for p in worker.marked("mark-a")] == [mine.pid]
        worker.end(worker.marked("mark-a"), seconds=0.3)
        assert mine.wait(5) is not None
        assert worker.marked("mark-a") == []
        assert psutil.pid_exists(other.pid)
        worker.end(worker.marked("mark-b"), seconds=5)
        assert other.wait(5) is not None
    finally:
        for process in (mine, other):
            process.kill()
            process.communicate()


def test_the_workers_of_a_killed_make_ui_end_after_its_runs() -> None:
    """The run says how it ended through its worker, whichever of the two sees the death first."""
    echo = "import sys;print(1,flush=True)\nfor line in sys.stdin: print(2,flush=True)"
    slow = (
        "import signal,sys\ndef last(*_): print(2,flush=True);input();sys.exit()\n"
        "signal.signal(15,last);print(1,flush=True);signal.pause()"
    )
    first = "from flows import worker;print(1,flush=True);worker._die_with(0,'mark-c')"
    parent = {worker.PARENT: "0"}
    processes = [sleeper("mark-c", echo, **parent), sleeper("mark-c", slow)]
    processes.append(sleeper("mark-c", first, **parent))
    other, run = processes[:2]
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == b"2\n"  # asked to end
        assert said_by(other) == b"2\n"  # nobody has asked it yet
        said_by(run)
        assert [process.wait(20) for process in (run, *processes)] == [0, -15, 0, -15]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def said_by(process: subprocess.Popen[bytes]) -> bytes:
    """What it says next when it is spoken to; nothing: it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(b"\n")
        process.stdin.flush()
    return process.stdout.readline()


def sleeper(mark: str, code: str, **more: str) -> subprocess.Popen[bytes]:
    """A marked process that has begun its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, worker.MARK: mark, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_runs_page_is_on_the_server_that_is_up_or_where_make_ui_will_be(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, ui_port=4300)
    settings.prefect_home.mkdir(parents=True)
    later = ("http://127.0.0.1:4300/runs/flow-run/r1", False)
    assert server.run_page(settings, "r1") == later
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "health").write_text("true")
    port = server.free_port()
    with ui.serving_reports(tmp_path, port):
        sharedserver.remember(settings, f"http://127.0.0.1:{port}/api", "")
        assert server.run_page(settings, "r1") == (
            f"http://127.0.0.1:{port}/runs/flow-run/r1",
            True,
        )
    assert server.run_page(settings, "r1") == later
