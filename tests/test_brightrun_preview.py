"""The preview marks what is trained on and cannot be used against its reader."""

from __future__ import annotations

import re
from pathlib import Path

import training_files as tf

from brightrun.conversations import Conversation, Turn
from brightrun.preview import preview_html, preview_text, title_of
from brightrun.reading import conversations


def sample(tmp_path: Path) -> list[Conversation]:
    return list(conversations(tf.write_json(tmp_path / "x.json", tf.document(2, 5))))


def evil() -> Conversation:
    text = '<script>alert(1)</script>\x1b[2J\x9b31m‮ & "quoted"'
    turns = (Turn(1, "user", text, False, 1), Turn(2, "assistant", text, True, 2))
    return Conversation(1, text, "arc", "persona", "topic", text, turns)


def test_exactly_the_answers_and_their_ends_are_marked(tmp_path: Path) -> None:
    found = sample(tmp_path)
    marked = re.findall(r"\[\[(.*?)\]\]", preview_text(found, colour=False), flags=re.S)
    answers = [t.content for one in found for t in one.turns if t.role == "assistant"]
    assert marked == [f"{answer}<|im_end|>" for answer in answers]


def test_the_unanswered_turn_is_not_shown_as_training_text(tmp_path: Path) -> None:
    text = preview_text(sample(tmp_path), colour=False)
    assert "Client 1.3" in text
    assert "Client 1.5" not in text


def test_foreign_text_cannot_steer_the_terminal() -> None:
    shown = preview_text([evil()], colour=True)
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert set(re.findall(r"\x1b\[\d*m", shown)) == {"\x1b[90m", "\x1b[1m", "\x1b[0m"}


def test_the_page_is_escaped_and_loads_nothing() -> None:
    page = preview_html([evil()], title="<script>", fault="<script>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<mark>") == 2  # one in the legend, one answer


def test_the_page_marks_every_answer(tmp_path: Path) -> None:
    found = sample(tmp_path)
    title = title_of("x.json", found, 24)
    page = preview_html(found, title=title, fault="x.json has 3 defects")
    assert page.count("<mark>") == 1 + sum(one.supervised_pairs for one in found)
    assert "x.json, conversations 1-2 of 24" in page
    assert "x.json has 3 defects" in page
    assert title_of("x.json", found[1:], None) == "x.json, conversation 2"
