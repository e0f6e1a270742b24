"""Colours that can be read, and shapes and lines where colour alone would tell things apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brightrun.brand import Colours, contrast
from reports import before_after, charts, comparison

ROOM = Path(__file__).resolve().parents[1] / "reports"
TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2: text of normal size, and parts of a picture


def declared(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", css))


@pytest.mark.parametrize("name", ["style.css", "live.css", "slides.css"])
def test_text_colours_are_readable_on_the_papers_they_stand_on(name: str) -> None:
    css = (ROOM / name).read_text(encoding="utf-8")
    colours = {**declared((ROOM / "style.css").read_text(encoding="utf-8")), **declared(css)}
    for word in ("ink", "muted", "blue", "pass", "fail", "open"):
        for paper in ("#ffffff", colours["wash"]):
            assert contrast(colours[word], paper) >= TEXT, (word, paper)


def test_pills_and_marks_are_readable() -> None:
    css = (ROOM / "style.css").read_text(encoding="utf-8")
    colours = declared(css)
    for kind, word in (("pass", "pass"), ("fail", "fail"), ("inconclusive", "open")):
        paper = re.search(rf"\.pill\.{kind} {{[^}}]*background: (#[0-9a-f]{{6}})", css)
        assert paper is not None
        assert contrast(colours[word], paper[1]) >= TEXT, kind
    for kind, _ in before_after.LEGEND:
        paper = re.search(rf"mark\.{kind} {{ background: (#[0-9a-f]{{6}})", css)
        assert paper is not None
        assert contrast(colours["ink"], paper[1]) >= TEXT, kind


def test_marks_of_a_chart_are_visible_on_white() -> None:
    for colour in (charts.INK, charts.MUTED, charts.TRAINED, charts.BASELINE, charts.GOLD):
        assert contrast(colour, "#FFFFFF") >= GRAPHIC, colour
    for colour, _, _ in comparison.STYLES:
        assert contrast(colour, "#FFFFFF") >= GRAPHIC, colour


def test_runs_differ_by_line_and_mark_and_highlights_by_their_line() -> None:
    assert len({line for _, line, _ in comparison.STYLES}) == len(comparison.STYLES)
    assert len({mark for _, _, mark in comparison.STYLES}) == len(comparison.STYLES)
    css = (ROOM / "style.css").read_text(encoding="utf-8")
    styles = re.findall(r"mark\.(\w+) {[^}]*text-decoration-style: (\w+)", css)
    assert len({style for _, style in styles} | {"solid"}) == len(before_after.LEGEND)


def test_the_usual_colour_passes_its_own_rule() -> None:
    assert contrast(Colours().primary, "#FFFFFF") >= TEXT
