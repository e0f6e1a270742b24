from __future__ import annotations

import base64
import re

import pypandoc
import report_samples

from brightrun.verdicts import Table
from reports import cards

HOSTILE = (
    "<img src=x onerror=alert(1)> | `a` [x](javascript:alert(1)) **b** https://evil.example\n# h"
)


def as_html(text: str) -> str:
    return str(pypandoc.convert_text(text, "html5", format="gfm"))


def test_hostile_cells_stay_one_cell_of_plain_text() -> None:
    page = as_html(cards.table(Table(columns=("a", "b"), rows=((HOSTILE, 1),))))
    assert page.count("<td") == 2
    for bad in ("<img", "<a ", "<strong", "<code", "<h1"):
        assert bad not in page, bad
    assert "onerror=alert(1)" in page


def test_the_verdict_card_says_what_was_not_measured() -> None:
    text = cards.verdicts(report_samples.verdicts(), meaningless="Test model")
    page = as_html(text)
    assert "EI claim: not measured." in page
    assert "Test model: the numbers mean nothing." in page
    assert page.count("<tr") == 1 + len(report_samples.verdicts())


def test_the_verdict_table_is_narrow_and_its_evidence_stands_below() -> None:
    """Prefect leaves about 730 pixels and breaks no cell: some 85 characters in three columns."""
    lines = cards.verdicts(report_samples.verdicts()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    widest = [
        max(map(len, column)) for column in zip(*(r.split("|")[1:-1] for r in rows), strict=True)
    ]
    assert len(widest) == 3
    assert sum(widest) <= 95
    below = [line for line in lines if line.startswith("- ")]
    assert len(below) == len(report_samples.verdicts())
    assert below[0].startswith("- Perplexity: baseline 13.47, trained 11.07, measured on the model")


def test_the_loss_curve_is_an_image_with_the_svg_inside() -> None:
    text = cards.loss_curve(report_samples.curve())
    found = re.search(r"!\[(.+?)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", text)
    assert found is not None
    assert base64.b64decode(found[2]).startswith(b"<svg xmlns=")
    assert "Training loss" in found[1]
    assert "two steps" in cards.loss_curve(())


def test_warnings_stand_above_the_estimates() -> None:
    options = Table(columns=("Market", "Likely $"), rows=(("spot", 52.4),))
    text = cards.estimate(options, warnings=("over $100",), note="as of today")
    assert text.index("over") < text.index("spot") < text.index("as of today")


def test_the_link_cannot_break_out_of_its_brackets() -> None:
    text = cards.report_link(report_samples.sample(name="a](b"), "http://127.0.0.1:1/x(1) y.html")
    assert as_html(text).count("<a ") == 1
    assert "http://127.0.0.1:1/x%281%29%20y.html" in text
    assert "Interrupted 1x, resumed successfully" in text
