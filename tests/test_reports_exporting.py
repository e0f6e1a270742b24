"""Metrics and examples leave a job whole, in three formats, and cannot act as formulas."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import report_samples
from report_jobs import evaluated_job
from typer.testing import CliRunner

from brightrun.errors import ReportError, UsageError
from flows.cli import app

JOB = "261120-7f3a"


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def made(*words: str) -> list[Path]:
    return [Path(p) for p in json.loads(run("export", JOB, "--json", *words).stdout)["files"]]


def test_every_step_is_in_every_format(home: Path, tmp_path: Path) -> None:
    evaluated_job(JOB, losses=(2.9, 2.6, 2.4))
    sheet, picture = made("--plot")
    rows = list(csv.DictReader(sheet.read_text("utf-8-sig").splitlines()))
    assert [float(row["loss"]) for row in rows] == [2.9, 2.6, 2.4]
    assert picture.read_text().startswith("<svg")
    plain = json.loads(made("--format", "json", "--out", str(tmp_path / "m.json"))[0].read_text())
    table = pq.read_table(made("--format", "parquet")[0]).to_pylist()
    assert plain == table
    assert list(plain[0]) == list(rows[0])
    assert {"step", "epoch", "learning_rate", "perplexity", "tokens_per_s", "cost_usd"} <= set(
        rows[0]
    )


def test_perplexity_is_that_of_the_validation_loss(home: Path) -> None:
    from brightrun.runfolder import Event

    job = evaluated_job(JOB, losses=(2.9,))
    held = {"ts": "2026-11-20T09:20:00+00:00", "attempt": 1, "seq": 9, "type": "metric",
            "payload": {"step": 1, "validation_loss": 2.0, "total_steps": 1}}  # fmt: skip
    job.ledger.ingest(JOB, [Event.model_validate(held)])
    row = json.loads(made("--format", "json")[0].read_text())[0]
    assert row["perplexity"] == pytest.approx(math.exp(2.0))


def test_an_answer_that_looks_like_a_formula_stays_an_answer(home: Path) -> None:
    evaluation = report_samples.evaluation()
    first = evaluation.examples[0].model_copy(update={"trained": "=HYPERLINK(1)"})
    evaluated_job(JOB, evaluation=evaluation.model_copy(update={"examples": (first,)}))
    rows = list(csv.DictReader(made("--what", "examples")[0].read_text("utf-8-sig").splitlines()))
    assert rows[0]["trained"] == "'=HYPERLINK(1)"
    plain = json.loads(made("--what", "examples", "--format", "json")[0].read_text())
    assert plain[0]["trained"] == "=HYPERLINK(1)"


def test_nothing_to_export_is_told(home: Path) -> None:
    evaluated_job(JOB, losses=())
    with pytest.raises(ReportError, match="has no metrics yet"):
        run("export", JOB)
    for words in (["--what", "poems"], ["--format", "xls"], ["--what", "examples", "--plot"]):
        with pytest.raises(UsageError):
            run("export", JOB, *words)
