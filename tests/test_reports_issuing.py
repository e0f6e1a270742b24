"""Reports are numbered and stamped, found again, and told from copies that were changed."""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
import report_samples
from report_jobs import evaluated_job
from typer.testing import CliRunner

from brightrun.errors import ConfigurationError, ReportError, UsageError
from brightrun.ledger import Ledger
from brightrun.ledger_reports import FileFacts
from brightrun.ledger_schema import attempts, jobs, verdicts
from brightrun.ledger_schema_delivery import report_files, reports
from brightrun.settings import load
from flows.cli import app
from reports import before_after, issuing, library, validation
from tasks import asked

JOB = "261120-7f3a"


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def made(*words: str) -> dict[str, Any]:
    done = run("report", JOB, "--json", "--by", "Ann", *words)
    assert done.exit_code == 0
    return dict(json.loads(done.stdout))


def test_a_job_owns_several_reports_that_prove_themselves(home: Path, tmp_path: Path) -> None:
    evaluated_job(JOB)
    Ledger.open(load()).reserve_report(JOB, "validation", job_id=JOB)
    second = made("--for", "the board")
    assert second["report_id"] == f"{JOB}-validation-2"
    assert (second["version"], second["audience"], second["created_by"]) == (2, "the board", "Ann")
    pdf = Path(second["files"]["validation-report.pdf"]["path"])
    document = pypdfium2.PdfDocument(pdf)
    for page in document:
        text = page.get_textpage().get_text_range()
        assert second["report_id"] in text
        assert second["fingerprint"][:16] in text
    (inside,) = (document.get_attachment(n) for n in range(document.count_attachments()))
    beside = Path(second["files"]["metrics.csv"]["path"])
    assert inside.get_name() == "metrics.csv"
    assert bytes(inside.get_data()) == beside.read_bytes()
    steps = list(csv.DictReader(beside.read_text("utf-8-sig").splitlines()))
    assert [float(step["loss"]) for step in steps] == [2.9, 2.6, 2.4, 2.3]
    document.close()

    genuine = run("verify", str(pdf))
    assert genuine.exit_code == 0
    assert f"Genuine: validation-report.pdf of report {JOB}-validation-2" in genuine.stdout
    contract = json.loads(Path(second["files"]["report.json"]["path"]).read_text())
    assert contract["issue"]["report_id"] == second["report_id"]

    better = tmp_path / "report.json"
    better.write_text(json.dumps({**contract, "name": "Better"}))
    with pytest.raises(ReportError, match=r"says that it is report .*-validation-2"):
        run("verify", str(better))

    changed = tmp_path / "copy.html"
    html = Path(second["files"]["validation-report.html"]["path"]).read_text()
    changed.write_text(html.replace("Target not met", "Target met"))
    with pytest.raises(ReportError, match=r"says that it is report .*-validation-2"):
        run("verify", str(changed))
    said = run("verify", str(changed), "--json")
    assert (said.exit_code, json.loads(said.stdout)["state"]) == (1, "altered")
    stranger = tmp_path / "stranger.pdf"
    stranger.write_bytes(b"%PDF-1.7 nothing of ours")
    with pytest.raises(ReportError, match="no report of this ledger"):
        run("verify", str(stranger))


def test_the_list_is_filtered_by_client_and_day(home: Path) -> None:
    evaluated_job(JOB)
    ledger = Ledger.open(load())
    for client, days in (("Acme", 3), ("Birch", 0)):
        taken = ledger.reserve_report(JOB, "validation", job_id=JOB, client=client)
        ledger.issue_report(
            taken.report_id, fingerprint="f", folder="/r", engine="e",
            made={"a.pdf": FileFacts("0" * 64, 1)}, at=datetime.now(UTC) - timedelta(days=days),
        )  # fmt: skip
    ledger.reserve_report(JOB, "validation", job_id=JOB, client="Acme")  # failed while being made

    def ids(*words: str) -> list[str]:
        found = json.loads(run("reports", "--json", *words).stdout)
        return [row["report_id"] for row in found["reports"]]

    assert ids() == [f"{JOB}-validation-2", f"{JOB}-validation-1"]
    assert ids("--client", "acme") == [f"{JOB}-validation-1"]
    assert ids("--since", f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}") == [
        f"{JOB}-validation-2"
    ]


def test_an_issued_report_is_never_written_over(home: Path) -> None:
    evaluated_job(JOB)
    ledger = Ledger.open(load())
    taken = ledger.reserve_report(JOB, "validation", job_id=JOB)
    facts = {"fingerprint": "f", "folder": "/r", "engine": "e"}
    ledger.issue_report(taken.report_id, made={"a.pdf": FileFacts("0" * 64, 1)}, **facts)
    with pytest.raises(ReportError, match="was issued already"):
        ledger.issue_report(taken.report_id, made={"a.pdf": FileFacts("1" * 64, 1)}, **facts)


def test_a_brand_with_faults_is_refused_before_anything_is_made(home: Path, tmp_path: Path) -> None:
    evaluated_job(JOB)
    brand = tmp_path / "brand.toml"
    brand.write_text('client = "Acme"\n\n[colours]\nprimary = "#FFEE00"\n\n[strings]\nx = "y"\n')
    with pytest.raises(ConfigurationError, match=r"brand.toml line 4, colours.primary: .*contrast"):
        run("report", JOB, "--brand", str(brand))
    brand.write_text('[strings]\nsumary = "Kurz gesagt"\n')
    with pytest.raises(ConfigurationError, match=r"strings\.sumary.*near: summary"):
        run("report", JOB, "--brand", str(brand))
    assert Ledger.open(load()).reports() == ()


def test_a_kind_that_there_is_not_is_wrong_use(home: Path) -> None:
    evaluated_job(JOB)
    with pytest.raises(UsageError, match="no kind of report 'poem'"):
        run("report", JOB, "--kind", "poem")


def of_job(row: dict[str, Any], n: int) -> dict[str, Any]:
    """A row of job-0000 as the n-th job's; its key is made anew."""
    return {
        name: value.replace("job-0000", f"job-{n:04d}") if isinstance(value, str) else value
        for name, value in row.items()
        if name != "id"
    }


def test_the_library_of_a_thousand_jobs_is_quick_and_escapes(home: Path, tmp_path: Path) -> None:
    """Each with a pod that cost something, six verdicts, and a report of two files."""
    ledger = evaluated_job("job-0000", client="Acme", name="<b>x</b>" * 3).ledger
    taken = ledger.reserve_report("job-0000", "validation", job_id="job-0000")
    made = {name: FileFacts("0" * 64, 1) for name in ("a.html", "a.pdf")}
    ledger.issue_report(taken.report_id, fingerprint="f", folder=str(tmp_path / "reports" / "r"),
                        engine="e", made=made)  # fmt: skip
    with ledger.write() as c:
        for table in (jobs, attempts, verdicts, reports, report_files):
            first = [dict(row._mapping) for row in c.execute(table.select())]
            c.execute(table.insert(), [of_job(row, n) for n in range(1, 1000) for row in first])
    started = time.process_time()
    page = library.write(ledger, tmp_path / "reports").read_text(encoding="utf-8")
    assert time.process_time() - started < 2
    assert page.count("<tr><td>job-") == 1000
    assert page.count("$0.077") == 1000
    assert page.count("perplexity: ") == 1000
    assert page.count(">PDF</a>") == 1000
    assert "<b>x</b>" not in page
    assert page.count("<script>") == 1


def test_a_client_may_ask_for_scenarios_by_name(home: Path, tmp_path: Path) -> None:
    job = evaluated_job(JOB)
    rows = [
        {"model": model, "scenario_id": "S20", "pass": 1, "text": f"I hear how ashamed you {model}"}
        for model in ("baseline", "trained")
    ]
    job.folder.write_jsonl("measurements/answers.jsonl", rows)
    file = tmp_path / "asked.txt"
    file.write_text("S20  # the board's own case\nS20\n")
    found = asked.with_asked(job, issuing.evaluation_of(job), asked.names_in(file))
    shown = found.examples[-1]
    assert (shown.scenario_id, shown.why, len(found.examples)) == ("S20", "asked", 13)
    assert shown.trained_marks
    assert before_after.WHY["asked"] == "asked for by name"
    said = validation._examples_sentence(report_samples.sample(evaluation=found))
    assert said.startswith("12 scenarios, each")
    assert said.count("1 more was asked for by name.") == 1
    with pytest.raises(UsageError, match="has no answer to S21"):
        asked.with_asked(job, found, ["S21"])
    file.write_text("# nothing\n")
    with pytest.raises(UsageError, match="names 0 scenarios"):
        asked.names_in(file)
