from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reports import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (0, "0"), (7, "7"), (18423, "18,423"), (2.0, "2.0"),
        (-0.47, "−0.47"), (1234.5, "1,234"), (0.0123, "0.0123"), (-0.00001, "0.0000"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_or_so(value: float | None, text: str) -> None:
    assert formats.number(value) == text


def test_a_share_is_printed_as_percent_with_a_real_minus() -> None:
    assert formats.percent(-0.178, signed=True) == "−17.8%"
    assert formats.percent(0.4, signed=True) == "+40.0%"
    assert formats.percent(0.00001, signed=True) == "0.0%"
    assert formats.level(0.95, "percent", short=True) == "95%"
    assert formats.level(0.955, "percent", short=True) == "95.5%"


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "$0.00"), (0.0042, "$0.0042"), (0.0773, "$0.077"), (52.5, "$52.50"), (-3, "−$3.00")],
)
def test_small_jobs_still_show_what_they_cost(amount: float, text: str) -> None:
    assert formats.usd(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.14, "2.1 s"), (59.6, "1 min"), (581, "9 min 41 s"), (3600, "1 h"), (47100, "13 h 5 min")],
)
def test_durations_use_two_units_at_most(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


def test_a_column_decides_how_its_cells_are_written() -> None:
    assert formats.cell(30.4, "Actual s") == "30 s"
    assert formats.cell(0.25, "Estimate $") == "$0.250"
    assert formats.cell(0.25, "Supervised share") == "25.0%"
    assert formats.cell("model_loading", "Stage") == "Model loading"
    assert formats.cell("model_loading", "File") == "model_loading"
    assert formats.cell(True) == "yes"


def test_dates_are_utc_whatever_zone_they_came_in() -> None:
    moment = datetime.fromisoformat("2026-11-20T23:30:00-05:00")
    assert formats.date(moment) == "21 November 2026"
    assert formats.timestamp(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2026-01-02 03:04 UTC"


def test_a_p_value_is_never_printed_as_nothing() -> None:
    assert [formats.p_value(p) for p in (0.0, 0.0004, 0.0312, 1.0)] == [
        "<0.001", "<0.001", "0.031", "1.000",
    ]  # fmt: skip
