"""The exception tree: what a person reads, and the way through `_FAILED.json`."""

from __future__ import annotations

import json

import pytest

from brightrun.errors import FAMILIES, BrightRunError, OutOfMemory, TrainerError, from_dict


def test_an_error_says_what_why_and_how_to_mend_it() -> None:
    error = BrightRunError("disk full: 0 bytes left", cause="old runs", fix="remove them")
    assert str(error) == "disk full: 0 bytes left\nLikely cause: old runs\nFix: remove them"
    assert str(BrightRunError("only this")) == "only this"


@pytest.mark.parametrize("code", sorted(FAMILIES))
def test_every_family_survives_the_way_through_json(code: str) -> None:
    error = FAMILIES[code]("what", cause="why", fix="how", adjustment={"micro_batch": 2})
    back = from_dict(json.loads(json.dumps(error.as_dict())))
    assert type(back) is FAMILIES[code]
    assert back.as_dict() == error.as_dict()
    assert error.code == code


def test_what_a_pod_writes_is_never_trusted_to_be_complete() -> None:
    assert type(from_dict({"code": "unheard of", "message": "x"})) is TrainerError
    assert "without a message" in from_dict({}).message
    assert from_dict({"code": None, "message": 3, "adjustment": None}).message == "3"


def test_an_adjustment_is_copied() -> None:
    wanted = {"micro_batch": 2}
    error = OutOfMemory("x", adjustment=wanted)
    wanted["micro_batch"] = 1
    assert error.adjustment == {"micro_batch": 2}


def test_codes_are_unique() -> None:
    def tree(kind: type[BrightRunError]) -> list[type[BrightRunError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]

    codes = [kind.code for kind in tree(BrightRunError)]
    assert len(codes) == len(set(codes))
