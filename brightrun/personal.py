"""Personal data in a text, by stated patterns: what kinds there are and how often, never the value.

kinds(text) -> {"an e-mail address": 1, ...}

Not looked for: names, addresses, dates of birth. They need a language model or a person. Reserved
examples (RFC 2606 domains, telephone numbers 555-01xx) are nobody's and are not counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

EMAIL = re.compile(
    r"[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
)
RESERVED = re.compile(r"@(?:.*\.)?(?:example\.(?:com|net|org)|[^@]*\.(?:example|invalid|test))$")
# Issued numbers only: no area 000, 666 or 9xx, no group 00, no serial 0000.
SSN = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
# North American with its separators, or international with a plus: sums of money have neither.
PHONE = re.compile(
    r"(?<![\w.+$€£-])(?:"
    r"(?:\+?1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4}"
    r"|\+[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,4}\)?){2,6}"
    r")(?![\d-])"
)
CARD = re.compile(r"(?<![\d.,$€£-])(?:\d[ -]?){12,18}\d(?![\d-])")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
# Cheap to look for, and in everything below but an e-mail address.
DIGIT = re.compile(r"\d[\d ()./-]{7}")


def digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def is_card(text: str) -> bool:
    """13-19 digits of a known issuer (2-6 first) that end as Luhn's formula says (ISO 7812)."""
    number = digits(text)
    if not 13 <= len(number) <= 19 or number[0] not in "23456" or len(set(number)) == 1:
        return False
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(number))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Remainder 1 modulo 97 with letters as numbers, the first four characters last (ISO 13616)."""
    plain = text.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def is_phone(text: str) -> bool:
    """8-15 digits (E.164); not one that is kept for stories (555-0100 to -0199), nor a toll-free
    line, which an organisation has and no person: crisis answers name them."""
    number = digits(text)
    nobodys = re.search(r"55501\d\d$|^1?8(?:00|33|44|55|66|77|88)\d{7}$", number)
    return 8 <= len(number) <= 15 and not nobodys


def is_email(text: str) -> bool:
    return RESERVED.search(text.lower()) is None


PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("an e-mail address", EMAIL, is_email),
    ("a bank account (IBAN)", IBAN, is_iban),
    ("a card number", CARD, is_card),
    ("a US social security number", SSN, lambda _: True),
    ("a telephone number", PHONE, is_phone),
)


def kinds(text: str) -> dict[str, int]:
    """How often each kind stands in a text; a character belongs to the first kind that has it."""
    found: Counter[str] = Counter()
    numbers = DIGIT.search(text) is not None
    for name, pattern, holds in PATTERNS:
        if not (numbers or (pattern is EMAIL and "@" in text)):
            continue
        hits = [match for match in pattern.finditer(text) if holds(match.group())]
        found[name] += len(hits)
        for hit in reversed(hits):
            text = text[: hit.start()] + " " + text[hit.end() :]
    return dict(+found)
