"""Emoji on paper: the same on every machine, with or without an emoji font."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
import pytest
import typst

from reports import canvas, escape, pictures


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "fine \U0001f600 \u2713 \u2764\ufe0f",
            "fine \U0001f600 \u2713 \u2764",
        ),  # our fonts have them
        ("\U0001f44d\U0001f3fd ok", "[thumbs up sign] ok"),
        ("\U0001f64f\U0001f4b0", "[person with folded hands][money bag]"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "[man, woman, girl]"),
        ("\U0001f1e9\U0001f1ea", "[flag DE]"),
        ("\U0001fae9", "[u+1fae9]"),
        ("1,250 \u20ac, na\u00efve, \u0645\u0631\u062d\u0628\u0627", None),
    ],
)
def test_a_picture_is_drawn_by_our_fonts_or_named(text: str, shown: str | None) -> None:
    assert pictures.named(text) == (shown or text)


def test_no_sign_is_an_empty_box_on_a_machine_without_emoji_fonts(tmp_path: Path) -> None:
    said = "Well done \U0001f600 \U0001f64f \U0001f680!"
    source = tmp_path / "a.typ"
    source.write_text(
        f'#set text(font: ("Source Sans Pro", "DejaVu Sans"))\n#{escape.typst(said)}',
        encoding="utf-8",
    )
    folders = [str(folder) for folder in canvas.font_folders()]
    pdf = tmp_path / "a.pdf"
    typst.compile(str(source), output=str(pdf), font_paths=folders, ignore_system_fonts=True)
    page = pypdfium2.PdfDocument(pdf)[0].get_textpage()
    assert "Well done \U0001f600 [person with folded hands] [rocket]!" in page.get_text_range()
