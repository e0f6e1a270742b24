from __future__ import annotations

from email.message import Message
from types import SimpleNamespace

import pytest

from audit import licences


def metadata(name: str, **fields: str | list[str]) -> Message:
    made = Message()
    made["Name"] = name
    for field, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            made[field.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True), ("GPL-3.0-only", False), ("", False), ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False), ("GPL-3.0-only OR MIT AND ISC", True),
        ("(GPL-3.0-only OR MIT) AND AGPL-3.0-only", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True), ("GPL-2.0-only WITH Classpath", False),
        ("MIT ISC", False), ("(MIT", False), ("Dual License", False),
    ],
)  # fmt: skip
def test_an_expression_is_allowed_by_the_rules_of_spdx(expression: str, may: bool) -> None:
    assert licences.allowed(expression) is may


def test_the_expression_counts_first_then_classifiers_then_the_free_field() -> None:
    old = {
        "Classifier": ["License :: OSI Approved :: MIT License", "License :: OSI Approved"],
        "License": "a long text",
    }
    assert licences.declared(metadata("a", **old)) == "MIT"
    assert licences.declared(metadata("a", License_Expression="ISC", **old)) == "ISC"
    assert licences.declared(metadata("a", License="Apache 2.0\n\nwhole text")) == "Apache-2.0"
    assert licences.declared(metadata("a")) == ""


def test_two_classifiers_must_both_be_allowed() -> None:
    told = [f"License :: OSI Approved :: {n}" for n in ("MIT License", "GPLv3")]
    assert licences.declared(metadata("a", Classifier=told)) == "MIT AND GPLv3"
    assert licences.fault("a", "MIT AND GPLv3")


def test_an_exception_falls_when_the_licence_changes() -> None:
    assert licences.fault("psycopg", "LGPL-3.0-only") == ""
    assert "psycopg" in licences.fault("psycopg", "AGPL-3.0-only")
    assert licences.fault("Psycopg_Binary", "LGPL-3.0-only") == ""
    assert licences.fault("nvidia-cublas", "LicenseRef-NVIDIA-Proprietary") == ""


def test_a_distribution_without_a_licence_is_named() -> None:
    found = licences.look([SimpleNamespace(metadata=metadata("orphan"))])
    assert found.state == "fail"
    assert found.faults[0].startswith("orphan: declares no licence")


def test_everything_installed_here_may_be_here() -> None:
    found = licences.look()
    assert (found.faults, found.state) == ((), "ok")


def test_every_exception_has_its_reason_and_no_needless_one_stands() -> None:
    for name, (declared, reason) in licences.EXCEPTIONS.items():
        assert len(reason) > 30, name
        assert not licences.allowed(declared), name
