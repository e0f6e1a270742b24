"""Emoji on paper: shown where the report's own fonts can, named in brackets where they cannot.

A PDF must look the same on every machine, also on one without an emoji font.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from reports.canvas import font_folders

# Signs and pictures, with what changes the one before (colour, key cap, skin tone) or joins two.
_SIGN = "[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_CHANGE = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff]"
_PICTURE = re.compile(f"{_SIGN}(?:{_CHANGE}|\u200d{_SIGN})*")
_UNSPOKEN = re.compile(f"{_CHANGE}|\u200d")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")
_FLAGS = re.compile(f"{_FLAG.pattern}{{2}}")


def named(text: str) -> str:
    """The text with pictures that our fonts lack as words: `[thumbs up sign]`, `[flag DE]`."""
    text = _FLAGS.sub(lambda flag: f"[flag {''.join(map(_letter, flag.group()))}]", text)
    return _PICTURE.sub(lambda found: _shown(_UNSPOKEN.sub("", found.group())), text)


def _letter(sign: str) -> str:
    return chr(ord(sign) - 0x1F1E6 + ord("A"))


def _shown(signs: str) -> str:
    if all(ord(sign) in _drawn() for sign in signs):
        return signs
    words = [unicodedata.name(sign, f"U+{ord(sign):X}") for sign in signs]
    return f"[{', '.join(words).lower()}]"


@cache
def _drawn() -> frozenset[int]:
    """Code points that the report's text fonts have a glyph for."""
    from matplotlib.ft2font import FT2Font

    files = [file for folder in font_folders() for file in folder.glob("*.ttf")]
    texts = [file for file in files if file.name in ("DejaVuSans.ttf", "SourceSansPro-Regular.ttf")]
    return frozenset(code for file in texts for code in FT2Font(str(file)).get_charmap())
