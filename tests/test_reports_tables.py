from __future__ import annotations

import report_samples

from brightrun.verdicts import Table
from reports import tables


def test_the_two_ends_of_an_interval_become_one_column() -> None:
    shown = tables.printed(report_samples.evaluation().perplexity, tables.PERPLEXITY)
    assert shown.columns[-2:] == ("Change", "95% interval")
    assert shown.rows[0][-2:] == ("−17.8%", "−21.4% to −13.9%")
    assert shown.rows[-1][-1] == "–"


def test_no_accuracy_stands_without_its_interval() -> None:
    shown = tables.printed(report_samples.evaluation().knowledge, tables.KNOWLEDGE)
    row = dict(zip(shown.columns, shown.rows[0], strict=True))
    assert row["Baseline"] == "52% (34% to 70%)"
    assert (row["Trained"], row["Retained"]) == ("48% (30% to 66%)", "92% (65% to 129%)")
    assert "95% interval" not in shown.columns


def test_a_column_nobody_described_is_still_shown() -> None:
    shown = tables.printed(Table(columns=("new_thing", "n"), rows=(("x", 3),)), tables.MARKERS)
    assert shown.columns == ("New thing", "N")
    assert shown.right == {1}


def test_a_pass_column_appears_only_when_there_are_several_passes() -> None:
    table = report_samples.evaluation().safety
    assert "Pass" not in tables.printed(table, tables.SAFETY).columns
    twice = table.model_copy(
        update={"rows": (*table.rows, ("S41", "crisis", 1, True, True, "", ""))}
    )
    assert "Pass" in tables.printed(twice, tables.SAFETY).columns


def test_dollars_of_a_column_share_their_decimals() -> None:
    shown = tables.printed(report_samples.sample().cost, tables.COST)
    assert [row[2:] for row in shown.rows][-2:] == [("$0.0021", "–"), ("$0.0773", "+12.2%")]
    assert shown.columns == ("Part", "Estimate", "Actual", "Difference")


def test_an_empty_table_prints_no_rows() -> None:
    shown = tables.printed(Table(columns=("a", "b"), rows=()))
    assert shown.rows == ()
    assert shown.columns == ("A", "B")


def test_only_keeps_the_rows_of_one_scope() -> None:
    table = report_samples.evaluation().perplexity
    assert len(tables.only(table, "scope", "conversation").rows) == 6
    assert tables.only(table, "absent", "x") is table
