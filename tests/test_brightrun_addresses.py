"""Email addresses as people type them."""

from __future__ import annotations

import pytest

from brightrun.addresses import checked


@pytest.mark.parametrize(
    "text",
    ["", "ann@example.org", "ann@example.org, bob@example.org", "Ann Lee <ann@example.org>"],
)
def test_what_is_an_address_stays_as_it_was_typed(text: str) -> None:
    assert checked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "ann", "ann@", "@example.org", "a@[", "ann@@example.org", "ann example.org", ",",
        "<ann@example.org", "ann@example.org, bob@", "ann@example.org bob@example.org",
        "ann@example.org\nBcc: eve@example.org",
    ],
)  # fmt: skip
def test_what_is_none_is_told_with_what_was_typed(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address, like ann@example\.org") as told:
        checked(text)
    assert repr(text) in str(told.value)
