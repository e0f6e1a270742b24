from __future__ import annotations

import json

import pytest
import typst

from reports import escape


def test_html_can_neither_open_a_tag_nor_leave_an_attribute() -> None:
    assert escape.html("<b a='\">&") == "&lt;b a=&#x27;&quot;&gt;&amp;"


@pytest.mark.parametrize("form", [escape.html, escape.typst, escape.markdown])
def test_no_fence_and_no_shortcode_survives(form: object) -> None:
    text = form("````\n{{< include /etc/passwd >}}")  # type: ignore[operator]
    assert "```" not in text
    assert "{{" not in text


def test_a_typst_literal_keeps_quotes_and_backslashes_inside() -> None:
    assert escape.typst('a"\\#b\n') == '"a\\"\\\\#b\\n"'


def test_typst_reads_every_character_back() -> None:
    text = "".join(map(chr, range(32, 127))) * 2 + "\n`````{{<x>}}\\u{41} é 😀 مرحبا"
    found = typst.eval(b"", escape.typst(text))
    assert json.loads(found) == escape.breakable(text)


def test_unshowable_characters_are_replaced_not_passed_on() -> None:
    assert escape.clean("a\x00b\u202ec\ud800d\r\n") == "a\ufffdb\ufffdc\ufffdd\n"


def test_long_words_can_break() -> None:
    broken = escape.breakable("x" * 100)
    assert max(len(part) for part in broken.split(escape.ZERO_WIDTH_SPACE)) == 40
    assert escape.breakable("short words stay") == "short words stay"


def test_the_template_escapes_what_is_not_marked_as_markdown() -> None:
    assert escape.finalize("*x*") == "\\*x\\*"
    assert escape.finalize(escape.Markdown("*x*")) == "*x*"
    assert escape.finalize(None) == ""


def test_paragraphs_and_lines_are_kept_and_empty_ones_dropped() -> None:
    assert escape.paragraphs("a\nb\n\n \n\nc") == [["a", "b"], ["c"]]
    assert escape.paragraphs("  \n\n") == []
