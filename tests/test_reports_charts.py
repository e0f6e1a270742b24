from __future__ import annotations

import subprocess
import sys

import report_samples

from brightrun.verdicts import Table
from reports import charts


def test_the_loss_curve_says_in_words_what_it_draws() -> None:
    data = report_samples.sample()
    chart = charts.loss_curve(data.curve, data.interruptions)
    assert chart is not None
    assert chart.svg.startswith("<svg")
    assert "interrupted at step 19, resumed from 16" in chart.alt
    assert "validation loss from" in chart.alt


def test_equal_data_gives_equal_bytes() -> None:
    table = report_samples.evaluation().markers
    first, second = charts.markers(table), charts.markers(table)
    assert first == second
    assert first is not None
    assert "2026" not in first.svg[:2000]


def test_a_withdrawn_marker_is_drawn_and_not_counted_as_closer_to_gold() -> None:
    columns = ("marker", "baseline", "trained", "gold")
    rows = (("Questions", 1.0, 2.0, 2.1), ("Emotion words (withdrawn)", 1.0, 2.0, 2.1))
    chart = charts.markers(Table(columns=columns, rows=rows))
    assert chart is not None
    assert chart.alt.startswith(
        "2 style markers before and after training (1 withdrawn: not counted); in 1 of 1 the"
    )
    both = charts.markers(Table(columns=columns, rows=(rows[0], ("Emotion words", *rows[1][1:]))))
    assert both is not None
    assert "in 2 of 2" in both.alt
    assert "withdrawn" not in both.alt


def test_perplexity_draws_conversations_not_totals() -> None:
    chart = charts.perplexity(report_samples.evaluation().perplexity)
    assert chart is not None
    assert chart.alt.endswith("lower after training in 6 of 6.")


def test_many_conversations_become_a_scatter() -> None:
    rows = tuple((f"c{i}", 10.0 + i, 9.0 + i) for i in range(80))
    chart = charts.perplexity(Table(columns=("name", "baseline", "trained"), rows=rows))
    assert chart is not None
    assert "80 held-out conversations" in chart.alt


def test_names_that_look_like_mathematics_or_arabic_are_drawn_as_text() -> None:
    rows = (("$\\frac{1}{2}$", 10.0, 9.0), ("مرحبا 😀", 11.0, 9.5), ("x$y_{", 9.0, 9.1))
    assert charts.perplexity(Table(columns=("name", "baseline", "trained"), rows=rows))


def test_nothing_to_draw_is_none() -> None:
    empty = Table(columns=("name", "baseline", "trained"), rows=())
    assert charts.perplexity(empty) is None
    assert charts.markers(empty) is None
    assert charts.loss_curve((), ()) is None
    assert charts.forest([v for v in report_samples.verdicts() if v.n == 0]) is None


def test_the_forest_names_estimate_interval_and_target() -> None:
    chart = charts.forest(report_samples.verdicts())
    assert chart is not None
    assert "Perplexity −17.8% (−21.4% to −13.9%), target −30% or lower: Target not met" in chart.alt


def test_importing_the_reports_does_not_import_matplotlib() -> None:
    code = "import sys, reports.render, reports.cards; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
