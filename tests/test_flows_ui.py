"""A person in a real browser: form, gate, run, report. One test, because it takes a minute.

Cancel, retry, reject and `--detach` are in test_flows_ui_runs.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ui_browser as ui
from commands import furnish, ledger, small_file
from playwright.sync_api import Browser, Page, expect
from waiting import until

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(ui.CHROMIUM is None, reason="not run: Chromium is missing"),
]
SMALL = {"epochs": 1, "scenarios": 2, "questions": 4, "max new tokens": 8}

STORY = (
    "Estimate: $", "Gate: waiting for a person", "Gate: confirmed by Ada (looks right)",
    "Pod 1 is br-", "training started", "checkpoint at step", "finalization finished",
)  # fmt: skip


def test_a_person_starts_approves_and_reads_a_job(
    tmp_path: Path, models: Path, migrated: Path
) -> None:
    """The form starts a run, the gate shows the estimate, the artifact's link opens the report."""
    home = furnish(tmp_path / "home", models, migrated)
    with ui.make_ui(home) as running, ui.browsing() as browser:
        page = opened(browser, f"{running.url}/deployments/deployment/")
        run = start_by_form(page, running, small_file(tmp_path))
        job_id = approve_by_form(page, running, run)
        done = running.wait_for(run, "Completed", seconds=180)
        assert done["name"] == f"{job_id} Browser test"

        told = until(lambda: ended_log(running, run, job_id), 30, "the last line of the log")
        assert [part for part in STORY if part not in told] == []
        assert "Traceback" not in told
        read_report(page, running, run)

        row = ledger(home).job(job_id)
        assert (row.status, row.requested_by, row.client) == ("completed", "Ada", "A bank")
        assert len(ledger(home).attempts(job_id)) == 1
    assert ui.processes_of(home) == []
    assert "Stopped." in running.log.read_text()


def ended_log(running: ui.Ui, run: str, job_id: str) -> str:
    """The run's log once its last line has arrived, else "" (lines arrive within seconds)."""
    told = running.logs(run)
    return told if f"Completed job {job_id}" in told else ""


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    page.goto(url)
    return page


def start_by_form(page: Page, running: ui.Ui, file: Path) -> str:
    """Fill the deployment's form as a newcomer does; the id of the run that stops at the gate."""
    deployment = running.deployment("finetune")
    page.goto(f"{running.url}/deployments/deployment/{deployment}/run")
    expect(page.get_by_text("Training file", exact=True)).to_be_visible()
    expect(ui.field(page, page, "Confirm").get_by_role("button", name="always")).to_be_visible()
    expect(ui.field(page, page, "Preset")).to_contain_text("Risk")
    ui.write(page, "Training file", str(file))
    ui.choose(page, "Preset", "demo")
    for title, text in {"Name": "Browser test", "Client": "A bank", "Requested by": "Ada",
                        "Base model": "tiny"}.items():  # fmt: skip
        ui.write(page, title, text)
    for title, number in SMALL.items():
        ui.override(page, title, number)
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page).not_to_have_url(re.compile("/run$"))
    run = str(until(running.newest_run, what="a flow run")["id"])
    page.goto(ui.NOTHING)
    running.wait_for(run, "Suspended", seconds=90)
    return run


def approve_by_form(page: Page, running: ui.Ui, run: str) -> str:
    """Read the estimate at the gate and approve; the job's id, which is in the run's name."""
    page.goto(f"{running.url}/runs/flow-run/{run}")
    page.get_by_role("button", name="Resume").first.click()
    form = page.get_by_role("dialog")
    expect(form).to_contain_text(re.compile(r"Estimate: \$[\d.]+ likely"))
    expect(form).to_contain_text("Why you are asked")
    expect(form).to_contain_text("spot")
    ui.field(page, form, "Approver").locator("textarea").fill("Ada")
    ui.field(page, form, "Note").locator("textarea").fill("looks right")
    ui.field(page, form, "Approve").get_by_role("switch").click()
    form.get_by_role("button", name="Submit").click()
    expect(form).not_to_be_visible()
    page.goto(ui.NOTHING)
    name = str(running.api(f"/flow_runs/{run}")["name"])
    return name.split()[0]


def read_report(page: Page, running: ui.Ui, run: str) -> None:
    """From the run page to the artifact to the report, over loopback."""
    page.goto(f"{running.url}/runs/flow-run/{run}")
    page.get_by_role("tablist").get_by_text("Artifacts").click()
    for key in ("estimate", "dataset", "progress", "loss-curve", "verdicts"):
        expect(page.get_by_text(key, exact=True).first).to_be_visible()
    page.get_by_text("report", exact=True).first.click()
    with page.context.expect_page() as opening:
        page.get_by_role("link", name="Open the validation report").click()
    report = opening.value
    expect(report.get_by_role("heading", name="Browser test")).to_be_visible()
    expect(report.get_by_text("The numbers in this report mean nothing.")).to_be_visible()
    expect(report.get_by_text("EI claim: not measured").first).to_be_visible()
