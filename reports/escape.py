"""Text of models, files and people made harmless, once per format.

Three rules keep this small: prose goes through `markdown`, everything else stands in raw blocks
as HTML text or as a typst string literal. Nothing can end a fence or start a Quarto shortcode,
because backticks and braces never appear as themselves.
"""

from __future__ import annotations

import html as _html
import re

from reports import pictures

# Control characters, invisible direction overrides (they can turn the following text around),
# non-characters and lone surrogates: none of them can be shown, some break XML or typst.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff\ud800-\udfff]"
)
ZERO_WIDTH_SPACE = "\u200b"
_LONG_RUN = re.compile(f"[^\\s{ZERO_WIDTH_SPACE}]{{40}}(?=[^\\s{ZERO_WIDTH_SPACE}])")


def clean(text: str) -> str:
    """Only what can be shown: newlines normalised, tabs as spaces, unshowable ones as U+FFFD."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    text = text.replace("\u2028", "\n").replace("\u2029", "\n")
    return _UNSHOWABLE.sub("\ufffd", text)


def breakable(text: str) -> str:
    """A zero-width space after every 40 characters without one: no word leaves its column."""
    return _LONG_RUN.sub(lambda run: run.group() + ZERO_WIDTH_SPACE, text)


def html(text: str) -> str:
    """HTML text or attribute value (quotes escaped too)."""
    safe = _html.escape(clean(text), quote=True)
    return safe.replace("`", "&#96;").replace("{", "&#123;").replace("}", "&#125;")


_TYPST = str.maketrans(
    {
        "\\": "\\\\",
        '"': '\\"',
        "\n": "\\n",
        "`": "\\u{60}",
        "{": "\\u{7b}",
        "}": "\\u{7d}",
    }
)


def typst(text: str) -> str:
    """A typst string literal, with its quotes. Never holds two braces in a row (Quarto)."""
    return f'"{clean(breakable(pictures.named(text))).translate(_TYPST)}"'


class Markdown(str):
    """Markdown that is meant as such. A plain str in the template is escaped instead."""

    __slots__ = ()


_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def markdown(text: str) -> Markdown:
    """Plain inline text: every ASCII punctuation mark escaped, newlines as spaces."""
    line = " ".join(clean(text).split())
    return Markdown(_PUNCTUATION.sub(r"\\\1", line))


def finalize(value: object) -> str:
    """jinja2's `finalize`: what is not Markdown is escaped; None is nothing."""
    if isinstance(value, Markdown):
        return value
    return "" if value is None else markdown(str(value))


def paragraphs(text: str) -> list[list[str]]:
    """Paragraphs of lines, empty ones dropped: how answers are set."""
    blocks = re.split(r"\n\s*\n", clean(text).strip("\n"))
    return [
        [line.rstrip() for line in block.split("\n") if line.strip()]
        for block in blocks
        if block.strip()
    ]
