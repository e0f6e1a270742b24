"""Every error that the trainer raises names its fault, and so its place in docs/errors.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from brightrun.errors import FAMILIES, UsageError
from brightrun.faults import FAULTS

ROOT = Path(__file__).parents[1]
KINDS = {kind.__name__: kind for kind in FAMILIES.values()}
SOURCES = sorted(
    path for room in ("trainer", "expectations") for path in (ROOT / room).glob("*.py")
)
# (file, class): why it has no fault.
WITHOUT = {
    ("trainer/playground.py", UsageError): "answers one request on a person's machine: no job, "
    "and the reply itself says what was expected",
}


def raised(source: str) -> Iterator[tuple[int, type[Exception], ast.expr | None]]:
    """Line, class and `fault=` (None where there is none) of each error of ours that is made."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given = {word.arg: word.value for word in node.keywords}
            if name in KINDS:
                yield node.lineno, KINDS[name], given.get("fault")


def test_what_is_searched_for_is_found() -> None:
    source = 'raise errors.TrainerError("x")\nraise OutOfMemory("y", fault="out_of_memory")\n'
    assert [(line, kind.__name__, fault is None) for line, kind, fault in raised(source)] == [
        (1, "TrainerError", True),
        (2, "OutOfMemory", False),
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_error_names_a_known_fault_of_its_own_family(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for line, kind, fault in raised(path.read_text()):
        if (name, kind) in WITHOUT:
            continue
        assert fault is not None, f"{name}:{line}: {kind.__name__} without fault="
        if isinstance(fault, ast.Constant):
            known = FAULTS[str(fault.value)]
            assert issubclass(kind, FAMILIES[known.family]), f"{name}:{line}: {fault.value}"


def test_an_exception_to_the_rule_is_still_needed() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), kind)
        for path in SOURCES
        for _, kind, fault in raised(path.read_text())
        if fault is None
    }
    assert found == set(WITHOUT)
