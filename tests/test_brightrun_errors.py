"""The exception tree: what a person reads, and the way through `_FAILED.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from brightrun import faultpage, faults
from brightrun.errors import FAMILIES, BrightRunError, OutOfMemory, TrainerError, from_dict
from brightrun.faults_input import ENDS


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


def test_a_named_fault_brings_its_cause_its_mend_and_its_place() -> None:
    error = TrainerError("the loss of step 7 is nan", fault="nan_loss")
    lines = str(error).splitlines()
    assert lines[0] == "the loss of step 7 is nan"
    assert lines[1].startswith("Likely cause: the learning rate")
    assert lines[2].startswith("Fix: halve the learning rate")
    assert lines[3] == "See docs/errors.md#nan-loss"
    own = TrainerError("x", cause="mine", fix="so", fault="nan_loss")
    assert (own.cause, own.fix) == ("mine", "so")
    assert from_dict(error.as_dict()).fault == "nan_loss"
    assert TrainerError("x", fault="unheard of").fault == ""


def test_every_fault_names_a_family_and_stands_on_the_page() -> None:
    page = (Path(__file__).parents[1] / faults.PAGE).read_text()
    assert page == faultpage.page(), "run: python -m brightrun.faultpage > docs/errors.md"
    for name, fault in faults.FAULTS.items():
        assert fault.family in FAMILIES
        assert f"\n## {faults.anchor(name).partition('#')[2]}\n" in page


def test_no_fault_that_a_pod_finds_says_that_nothing_was_spent() -> None:
    """Of the snapshot a pod only repeats what was counted before it was rented."""
    repeated = {"too_long", "no_supervised_tokens"}
    sources = (Path(__file__).parents[1] / "trainer").glob("*.py")
    said = {name for p in sources for name in re.findall(r'"(\w+)"', p.read_text())}
    found = {name for name in said & set(faults.FAULTS) if faults.FAULTS[name].then == ENDS}
    assert repeated <= said
    assert found <= repeated


def test_faults_that_the_code_names_are_known() -> None:
    root = Path(__file__).parents[1]
    sources = [
        p
        for room in ("brightrun", "trainer", "tasks", "expectations")
        for p in (root / room).rglob("*.py")
    ]
    named = {n for p in sources for n in re.findall(r'\bfault="(\w+)"', p.read_text())}
    assert named
    assert named <= set(faults.FAULTS)
