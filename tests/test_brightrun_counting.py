"""A number and its noun agree."""

from __future__ import annotations

import pytest

from brightrun.counting import count


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 defects"), (1, "1 defect"), (2, "2 defects"), (1250, "1,250 defects")]
)
def test_a_number_and_its_noun_agree(n: int, text: str) -> None:
    assert count(n, "defect") == text


def test_an_odd_plural_is_given() -> None:
    assert count(2, "loss", "losses") == "2 losses"
