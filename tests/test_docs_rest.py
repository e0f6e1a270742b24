"""docs/rest.md: its curl examples, typed one after another at a real Prefect server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import ui_browser as ui
from commands import ROOT, environment, furnish, ledger, run_folder, small_file
from waiting import until

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 240
# As after `source .venv/bin/activate`.
HERE = f'brightrun() {{ {sys.executable} -m flows.cli "$@"; }}'


def test_the_examples_create_show_start_and_cancel_a_job(
    tmp_path: Path, models: Path, migrated: Path
) -> None:
    page = (ROOT / "docs" / "rest.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    home, file = furnish(tmp_path / "home", models, migrated), small_file(tmp_path)
    with ui.make_ui(home) as running:
        told = environment(
            home,
            PREFECT_API_URL=f"{running.url}/api",
            FILE=str(file),
            MODEL="tiny",
        )
        typed = "\n".join([HERE, *blocks, 'echo; echo "$RUN $JOB"'])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", typed], cwd=ROOT, env=told, timeout=SECONDS,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + running.log.read_text()
        run, job = done.stdout.split()[-2:]
        assert '"ACCEPT"' in done.stdout
        assert re.search(rf"Job {job} is (being )?cancelled.* spent; kept: ", done.stdout)
        assert running.api(f"/flow_runs/{run}")["state"]["type"] == "CANCELLED"
        wrong = {"parameters": {"request": {"training_file": str(file), "preset": "none"}}}
        place = f"/api/deployments/{running.deployment('finetune')}/create_flow_run"
        refused = httpx.post(f"{running.url}{place}", json=wrong)
        assert refused.status_code == 409
        assert "preset" in refused.text
        books = ledger(home)
        until(lambda: books.job(job).status == "cancelled", 60, "the job's books are closed")
        request = books.job(job).request
        assert (request["client"], request["requested_by"]) == ("Acme", "Ann")
        asked = run_folder(home, job).stop_request() or {}
        assert (asked["reason"], asked["by"]) == ("cancel", "Ben")
    assert ui.processes_of(home) == []
    assert ledger(home).open_attempts() == ()
