"""Which personal data is seen, and what only looks like it."""

from __future__ import annotations

import time

import pytest

from brightrun.personal import kinds

EMAIL, IBAN, CARD = "an e-mail address", "a bank account (IBAN)", "a card number"
SSN, PHONE = "a US social security number", "a telephone number"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mail ann.lee@gmail.com or x@example.com", {EMAIL: 1}),
        ("my SSN is 123-45-6789", {SSN: 1}),
        ("card 4111 1111 1111 1111, exp 10/29", {CARD: 1}),
        ("4111-1111-1111-1111 and 378282246310005", {CARD: 2}),
        ("call (415) 867-5309 or +49 30 1234 5678", {PHONE: 2}),
        ("415.867.5309", {PHONE: 1}),
        ("to DE89 3704 0044 0532 0130 00 please", {IBAN: 1}),
        ("GB82WEST12345698765432", {IBAN: 1}),
    ],
)
def test_personal_data_is_counted_by_kind(text: str, found: dict[str, int]) -> None:
    assert kinds(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "I have $1,234,567.89 in the 401(k) and 529-plan, since 2019-2023",
        "on 2023-01-15 at 10:30, again 10-15-2020",
        "between 1,000,000 - 2,000,000 or +$5,000 - 10 000",
        "rates of 3.25 - 4.75 percent over 30 - 40 years",
        "4111 1111 1111 1112",  # Luhn says no
        "000-12-3456, 123-00-4567, 987-65-4321",  # never issued
        "call 212-555-0143",  # kept for stories
        "call 800-569-4287 or +1 (888) 373-7888",  # an organisation's
        "DE89 3704 0044 0532 0130 01",  # remainder is not 1
        "see me @ home, or a@b",
        "",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert kinds(text) == {}


@pytest.mark.parametrize(
    "text",
    ["a." * 50_000 + "@", "1-" * 50_000, "+1" + " 1" * 50_000, "AB12" + "ABCD" * 50_000,
     "a@" + "b." * 50_000, "1 " * 100_000],
)  # fmt: skip
def test_no_text_makes_the_patterns_slow(text: str) -> None:
    begun = time.process_time()
    kinds(text)
    assert time.process_time() - begun < 1.0
