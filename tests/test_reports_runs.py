"""Runs side by side, and what a month cost: who wins, what is saved, what is only stated."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import report_samples
from report_jobs import evaluated_job
from test_reports_render import Page, pages_of
from typer.testing import CliRunner

from brightrun.brand import Brand
from brightrun.errors import ConfigurationError, ReportError, UsageError
from brightrun.revenue import Revenue
from brightrun.spreadsheets import harmless
from brightrun.verdicts import Evaluation, EvidenceKind, MetricName, Verdict
from flows.cli import app
from reports import comparison, costreport, costs, issuing, runs

NOW = datetime.now(UTC)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def verdict(estimate: float, low: float, high: float, **more: Any) -> Verdict:
    facts = {"metric": MetricName.perplexity, "evidence": EvidenceKind.measurement, "n": 900,
             "n_clusters": 6, "baseline": 13.0, "trained": 11.0, **more}  # fmt: skip
    return Verdict(estimate=estimate, ci_low=low, ci_high=high, **facts)


def with_perplexity(*numbers: float) -> Evaluation:
    found = report_samples.evaluation()
    others = tuple(v for v in found.verdicts if v.metric is not MetricName.perplexity)
    return found.model_copy(update={"verdicts": (verdict(*numbers), *others)})


CLEAR, NEAR = with_perplexity(-0.31, -0.36, -0.27), with_perplexity(-0.2, -0.28, -0.12)


def gathered(*evaluations: Evaluation) -> tuple[runs.Run, ...]:
    jobs = [evaluated_job(f"j{n}", evaluation=e) for n, e in enumerate(evaluations)]
    return runs.gather(jobs, NOW).runs


def test_the_best_of_a_row_needs_intervals_that_do_not_touch(home: Path) -> None:
    found = gathered(with_perplexity(-0.18, -0.21, -0.14), CLEAR)
    assert [runs.verdict_of(r, MetricName.perplexity).estimate for r in found] == [-0.18, -0.31]
    rows = {row.name: row for row in runs.metric_rows(found)}
    assert rows["Perplexity"].best == 1
    assert rows["Safety"].best is None
    assert "overlap" in rows["Safety"].why


def test_a_number_from_outside_the_plan_says_so_beside_others(home: Path) -> None:
    later = CLEAR.model_copy(
        update={"verdicts": tuple(v.model_copy(update={"exploratory": True})
                                  for v in CLEAR.verdicts)}
    )  # fmt: skip
    row = next(r for r in runs.metric_rows(gathered(CLEAR, later)) if r.name == "Perplexity")
    assert [cell.endswith(", exploratory)") for cell in row.cells] == [False, True]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"validation_sha256": "other"}, "different test items"),
        ({"evaluation": None}, "not measured in every run"),
        ({"evaluation": NEAR}, "within noise"),
        ({"base_identity": "other"}, "different base models"),
        ({"meaningless": "Smoke test"}, "mean nothing"),
    ],
)
def test_nobody_wins_a_row_that_cannot_be_compared(
    home: Path, changes: dict[str, Any], why: str
) -> None:
    first, second = gathered(with_perplexity(-0.18, -0.21, -0.14), CLEAR)
    found = (first, second.model_copy(update=changes))
    verdicts = [runs.verdict_of(r, MetricName.perplexity) for r in found]
    best, said = runs.winner(found, verdicts, MetricName.perplexity)
    assert best is None
    assert why in said


NOTHING = {"proves_nothing": "Near chance."}
WITHDRAWN = {**NOTHING, "estimate": None, "ci_low": None, "ci_high": None}


@pytest.mark.parametrize(
    ("changes", "cell"),
    [(NOTHING, "−31.0% (−36.0% to −27.0%, proves nothing)"), (WITHDRAWN, "no claim")],
)
def test_a_number_that_proves_nothing_wins_and_loses_to_nobody(
    home: Path, changes: dict[str, Any], cell: str
) -> None:
    first, second = with_perplexity(-0.18, -0.21, -0.14), CLEAR
    found = second.model_copy(
        update={"verdicts": tuple(v.model_copy(update=changes)
                                  if v.metric is MetricName.perplexity else v
                                  for v in second.verdicts)}
    )  # fmt: skip
    rows = {row.name: row for row in runs.metric_rows(gathered(first, found))}
    row = rows["Perplexity"]
    assert (row.cells[1], row.best) == (cell, None)
    assert "proves nothing" in row.why


def test_human_and_automatic_evidence_are_not_compared() -> None:
    pair = [verdict(-0.1, -0.2, -0.05), verdict(-0.5, -0.6, -0.4, evidence=EvidenceKind.human)]
    one = runs.Run.model_construct(
        validation_sha256="v", plan_sha256="p", base_identity="b", meaningless=""
    )
    assert runs.winner((one, one), pair, MetricName.perplexity)[0] is None


@pytest.mark.parametrize(
    ("values", "best"), [((10.0, 9.0), 1), ((10.0, 9.7), None), ((0.0, 0.0), None)]
)
def test_cost_has_a_winner_only_beyond_the_noise(values: Any, best: int | None) -> None:
    assert runs.least(values)[0] == best


@pytest.mark.parametrize("changes", [{"evaluation": None}, {"meaningless": "Smoke test"}])
def test_a_run_that_was_cut_off_or_a_test_is_not_the_cheapest(
    home: Path, changes: dict[str, Any]
) -> None:
    first, second = gathered(CLEAR, NEAR)
    found = (first, second.model_copy(update={"cost_usd": 0.01, "hours": 0.001}))
    cheap = {row.name: row.best for row in comparison.rows_of(found)}
    assert (cheap["Cost"], cheap["Compute time"]) == (1, 1)
    cut = (first, found[1].model_copy(update=changes))
    assert all(row.best is None for row in comparison.rows_of(cut))


def test_a_comparison_names_its_smoke_tests(home: Path) -> None:
    evaluated_job("whole")
    found = runs.gather([evaluated_job("whole-2"), evaluated_job("tried", smoke=True)]).runs
    assert [run.meaningless for run in found] == ["", "Smoke test"]
    assert "tried (smoke test)" in comparison.warning(found)


def test_a_comparison_is_one_issued_report_of_several_jobs(home: Path) -> None:
    evaluated_job("job-a", usd="4.00", name="<script>alert(1)</script>")
    evaluated_job("job-b", usd="8.00", evaluation=CLEAR, values={"lora_r": 8})
    done = run("compare", "job-a", "job-b", "--json", "--by", "Ann")
    made = json.loads(done.stdout)
    page = Page(Path(made["files"]["comparison.html"]["path"]).read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "−31.0% (−36.0% to −27.0%) ★ best" in page.text
    assert "$4.00 ★ best" in page.text
    assert "lora r 16 8" in page.text
    assert "1 setting differs" in page.text
    sheets = pages_of(Path(made["files"]["comparison.pdf"]["path"]))
    assert all(made["report_id"] in sheet for sheet in sheets)
    assert run("verify", made["files"]["comparison.pdf"]["path"]).exit_code == 0


@pytest.mark.parametrize("ids", [("job-a",), ("job-a", "job-a")])
def test_fewer_than_two_different_jobs_are_wrong_use(home: Path, ids: tuple[str, ...]) -> None:
    evaluated_job("job-a")
    with pytest.raises(UsageError):
        run("compare", *ids)


def test_a_month_adds_up_and_margin_needs_a_stated_revenue(home: Path, tmp_path: Path) -> None:
    start = NOW - timedelta(minutes=20)
    evaluated_job("job-a", usd="4.00", start=start, client="Acme", name="=1+1")
    evaluated_job("job-b", usd="6.50", start=start, client="Birch")
    paid = tmp_path / "paid.toml"
    paid.write_text('stated_by = "Ann"\n[[revenue]]\njob = "job-a"\nusd = 900\n')
    done = run("report", "--kind", "cost", "--month", f"{start:%Y-%m}", "--figures", str(paid),
               "--json", "--by", "Ann")  # fmt: skip
    made = json.loads(done.stdout)
    data = costs.CostData.model_validate_json(
        Path(made["files"]["report.json"]["path"]).read_bytes()
    )
    assert round(data.usd, 6) == 10.5 or start.month != NOW.month
    margins = {c.client: c.margin_usd for c in data.clients}
    assert margins["Birch"] is None
    assert margins["Acme"] == pytest.approx(
        900 - sum(j.usd for j in data.jobs if j.client == "Acme")
    )
    sheet = list(csv.DictReader(
        Path(made["files"]["cost-report.csv"]["path"]).read_text("utf-8-sig").splitlines()
    ))  # fmt: skip
    assert {row["job_id"]: row["name"] for row in sheet}["job-a"] == "'=1+1"
    parts = ("boot_usd", "boot_waste_usd", "lost_usd")
    assert sum(float(sheet[0][name]) for name in parts) <= float(sheet[0]["total_usd"])
    text = " ".join(pages_of(Path(made["files"]["cost-report.pdf"]["path"])))
    assert "stated by Ann" in text
    assert "0 of 2 ended jobs cost within ±15%" in text


def test_the_revenue_of_a_job_counts_in_one_month(home: Path) -> None:
    """A job that bills over the turn of a month."""
    turn = datetime(2026, 11, 1, tzinfo=UTC)
    job = evaluated_job("job-a", client="Acme", start=turn - timedelta(minutes=4))
    paid = Revenue.model_validate({"revenue": [{"job": "job-a", "usd": 900}]})
    months = [costs.of_month(job.ledger, m, revenue=paid) for m in ("2026-10", "2026-11")]
    assert all(month.usd > 0 for month in months)
    assert [month.revenue for month in months] == [900, 0]


def test_the_margin_is_of_clients_with_a_stated_revenue_only(home: Path) -> None:
    start = datetime(2026, 11, 3, tzinfo=UTC)
    job = evaluated_job("job-a", usd="4.00", start=start, client="Acme")
    evaluated_job("job-b", usd="6.50", start=start, client="Birch")
    paid = Revenue.model_validate({"revenue": [{"job": "job-a", "usd": 900}]})
    data = costs.of_month(job.ledger, "2026-11", revenue=paid)
    assert data.margin == pytest.approx(896)
    named = Brand(strings={"margin-tile": "Marge"})
    tiles = costreport.tiles(data.model_copy(update={"brand": named}))
    assert "$896.00" in tiles
    assert "Marge" in tiles
    assert "of 1 of 2 clients" in tiles


def test_clients_whose_names_differ_in_signs_have_reports_of_their_own() -> None:
    clients = ("Acme & Co", "Acme Co", "株式会社", "מכבי", "all", "")
    assert len({issuing.month_scope("2026-11", client) for client in clients}) == len(clients)
    assert issuing.month_scope("2026-11", "ACME") == issuing.month_scope("2026-11", "acme")


def test_a_spot_saving_is_the_price_on_demand_less_what_was_paid(home: Path) -> None:
    job = evaluated_job("job-a")
    pods = [pod_with(job.ledger.attempts("job-a")[0], market="spot", cost=Decimal("3.00"), hours=2)]
    offered = {"market": "on_demand", "offered": True, "price": {"usd_per_hour": 4.0}}
    assert costs.spot_saving(pods, {"markets": [offered]}, NOW) == pytest.approx(5.0)
    assert costs.spot_saving(pods, {"markets": [{**offered, "offered": False}]}, NOW) is None
    assert costs.spot_saving(job.ledger.attempts("job-a"), {"markets": [offered]}, NOW) is None


def pod_with(pod: Any, *, market: str, cost: Decimal, hours: float) -> Any:
    from dataclasses import replace

    ended = pod.launched_at + timedelta(hours=hours)
    return replace(pod, market=market, cost_usd=cost, ended_at=ended)


def test_a_revenue_file_says_where_it_is_wrong(tmp_path: Path) -> None:
    paid = tmp_path / "paid.toml"
    paid.write_text("[[revenue]]\njob = 'a'\nusd = 1\n\n[[revenue]]\nusd = 2\n")
    from brightrun.revenue import read

    with pytest.raises(ConfigurationError, match=r"paid.toml line 5, revenue.2: name either a job"):
        read(paid)


def test_a_job_that_rented_nothing_has_no_cost_report(home: Path) -> None:
    from brightrun.jobs import JobRequest
    from brightrun.ledger import Ledger
    from brightrun.settings import load

    Ledger.open(load()).create_job("fresh", JobRequest(training_file="f"))
    with pytest.raises(ReportError, match="has not rented anything"):
        run("report", "fresh", "--kind", "cost")


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "  =1", "\tx", "\rx"])
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless(-3.5) == -3.5
