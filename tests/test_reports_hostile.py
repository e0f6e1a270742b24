"""Script tags, typst, TeX and pandoc syntax, right-to-left text, emoji, empty and very long strings
in every format that leaves the house; slides and the validation report have theirs beside them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import report_samples
from report_jobs import evaluated_job
from test_reports_render import HOSTILE, Page, hostile, pages_of

from brightrun import brand as brands
from brightrun.brand import Brand
from brightrun.figures import Benefit, Figures
from brightrun.rivals import Answer, Battlecard, Cell, Question
from brightrun.verdicts import MetricName, ReportData
from reports import (
    battlecard,
    comparison,
    costreport,
    costs,
    exporting,
    library,
    onepager,
    package,
    packagetexts,
    render,
    runs,
)
from reports.escape import clean
from reports.render import Rendered

LONG = HOSTILE + "\n\n" + "word " * 4_000
NOW = datetime(2026, 11, 21, tzinfo=UTC)
BRAND = Brand.model_construct(
    **{**Brand().model_dump(), "colours": Brand().colours, "house": HOSTILE[:60],
       "client": HOSTILE[:120], "guarantee": HOSTILE, "support": HOSTILE,
       "strings": {"results": HOSTILE, "sources": HOSTILE, "by-job": HOSTILE,
                   "one_pager": HOSTILE, "meaning": HOSTILE},
       "testimonials": (brands.Testimonial(quote=HOSTILE[:600], who=HOSTILE[:120]),),
       "case_study": brands.Story(title=HOSTILE[:140], text=HOSTILE)}
)  # fmt: skip


def compared(folder: Path) -> Rendered:
    data = runs.gather([evaluated_job(f"job-{n}") for n in "ab"], NOW)
    wild = [
        run.model_copy(update={"name": LONG, "client": LONG, "notes": LONG,
                               "config": {HOSTILE: f"{HOSTILE} {n}", "same": ""}})
        for n, run in enumerate(data.runs)
    ]  # fmt: skip
    return comparison.make(data.model_copy(update={"runs": tuple(wild), "brand": BRAND}), folder)


def counted(folder: Path) -> Rendered:
    jobs = [evaluated_job(f"job-{n}", client=n) for n in "ab"]
    data = costs.of_month(jobs[0].ledger, "2026-11", now=NOW)
    wild = {
        "jobs": tuple(j.model_copy(update={"name": LONG, "client": LONG}) for j in data.jobs),
        "clients": tuple(c.model_copy(update={"client": HOSTILE}) for c in data.clients),
        "brand": BRAND,
        "revenue_by": LONG,
    }
    return costreport.make(data.model_copy(update=wild), folder)


def beside_others(folder: Path) -> Rendered:
    cell = Cell(answer=Answer.no, says=HOSTILE[:240], source=HOSTILE[:300], seen=NOW.date())
    card = Battlecard(rivals=(HOSTILE, "מכבי 😀"), questions=(
        Question(ask=HOSTILE[:140], ours=cell, rivals={HOSTILE: cell}),
        Question(ask="$x$ ", metric=MetricName.perplexity),
    ))  # fmt: skip
    return battlecard.make(card, sold(), folder)


def sold() -> ReportData:
    """The hostile report with a claim that passed."""
    data = hostile()
    verdicts = tuple(
        v.model_copy(update={"target_met": "pass" if v.metric is MetricName.perplexity else
                             "inconclusive"})
        for v in data.evaluation.verdicts
    )  # fmt: skip
    found = data.evaluation.model_copy(update={"verdicts": verdicts, "flags": (LONG,)})
    return data.model_copy(update={"evaluation": found, "brand": BRAND})


def promised(folder: Path) -> Rendered:
    return onepager.make(sold(), folder)


def branded(folder: Path) -> Rendered:
    benefit = Benefit(name=HOSTILE[:80], per_month=9, usd_each=2, assumed_change=0.1,
                      source=HOSTILE[:200])  # fmt: skip
    figures = Figures(stated_by=HOSTILE[:100], price_usd=900, months=12, benefits=(benefit,))
    return render.render(
        report_samples.sample(brand=BRAND, figures=figures, name="", client=""), folder
    )


@pytest.mark.parametrize("make", [compared, counted, beside_others, promised, branded])
def test_every_document_shows_what_is_hostile_and_does_nothing(
    make: Any, home: Path, tmp_path: Path
) -> None:
    made: Rendered = make(tmp_path / "out")
    page = Page(made.html.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("style") == 1
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any("javascript" in v for n, v in page.attributes if n in ("href", "src"))
    assert not any(v.startswith("http") for n, v in page.attributes if n in ("href", "src"))
    sheets = pages_of(made.pdf)
    for text in (page.text, " ".join(sheets)):
        assert "alert(1)" in text
        assert "root:" not in text
    assert f"Page {len(sheets)} of {len(sheets)}" in sheets[-1]
    assert made.html.stat().st_size < 2_000_000


def test_a_spreadsheet_and_the_library_take_no_text_for_a_command(
    home: Path, tmp_path: Path
) -> None:
    job = evaluated_job("job-a", name="=cmd|' /C calc'!A0", client="<script>x</script>")
    data = costs.of_month(job.ledger, "2026-11", now=NOW)
    assert "'=cmd" in costreport.csv_of(data)
    page = library.page(job.ledger, tmp_path, NOW)
    assert page.count("<script") == 1
    assert "&lt;script&gt;x" in page


def test_exported_answers_are_what_was_answered(home: Path, tmp_path: Path) -> None:
    """Data for a program: nothing is escaped or cut but what a spreadsheet would calculate."""
    job = evaluated_job("job-a", evaluation=hostile().evaluation)
    wanted = [e.baseline for e in hostile().evaluation.examples]
    (listed,) = exporting.write(job, "examples", "json", tmp_path / "a.json", False)
    assert [row["baseline"] for row in json.loads(listed.read_text())] == wanted
    (columns,) = exporting.write(job, "examples", "parquet", tmp_path / "a.parquet", False)
    assert pq.read_table(columns).column("baseline").to_pylist() == wanted


def test_the_texts_of_a_package_stay_texts() -> None:
    data = hostile()
    said = packagetexts.words(data.model_copy(update={"brand": BRAND}),
                              {"system_prompt": HOSTILE, "dtype": "bfloat16"},
                              {"name": HOSTILE, "license": HOSTILE, "revision": HOSTILE,
                               "sha256": HOSTILE}, torch=HOSTILE, golden=1, adapter={})  # fmt: skip
    texts = [
        packagetexts.fill(name, said).decode()
        for name in ("README.md", "MODEL-CARD.md", "LICENSE-NOTES.md", "serve/README.md")
    ]
    for text in (*texts, package.summary_text(data)):
        bare = text.replace("\\<", "").replace("\\`", "").replace("\\!", "").replace("\\[", "")
        assert "<script>" not in bare
        assert "![a]" not in bare
        assert "{{ cover }}" not in bare
        assert clean("alert(1)") in text
