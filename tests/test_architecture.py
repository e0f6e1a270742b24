"""The floors of the house, proved from its imports: they point down only."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Package -> project packages that it may import besides itself.
BELOW = {
    "flows": {"tasks", "evals", "reports", "expectations", "brightrun"},
    "tasks": {"evals", "reports", "expectations", "brightrun"},
    "evals": {"brightrun"},
    "reports": {"brightrun"},
    "expectations": {"brightrun"},
    "trainer": {"brightrun"},
    "simulation": {"brightrun"},
    "benches": {"trainer", "brightrun"},
    "audit": set(),
    "brightrun": set(),
}
TORCH = {
    "torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "safetensors", "gguf",
    "evaluate", "datasets",
}  # fmt: skip
# Library -> packages that may import it.
ONLY_IN = {
    **{name: {"trainer", "benches"} for name in TORCH},
    "prefect": {"flows", "tasks"},
    "great_expectations": {"expectations"},
    "typer": {"flows"},
    "lm_eval": {"evals"},
    "sqlalchemy": {
        "brightrun",
        "deployments",
        "flows",
    },  # flows: Prefect's own database answers "locked"
    "slack_sdk": {"brightrun"},
    "typst": {"reports"},
    "matplotlib": {"reports", "simulation"},
}
LEAF = "evals.hub_metrics"
LEAF_MAY = {"evaluate", "datasets"}
LIMIT = 300
GRAB_BAGS = {"utils", "util", "common", "helpers", "misc", "base"}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in BELOW
    for path in sorted((ROOT / package).rglob("*.py"))
    if "data" not in path.relative_to(ROOT).parts
}


@cache
def imports(name: str) -> tuple[str, ...]:
    """Dotted names that a module imports, wherever in it; `from a import b` gives a.b."""
    found: list[str] = []
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: write imports in full"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


def package(dotted: str) -> str:
    return dotted.split(".", 1)[0]


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 60
    assert {package(name) for name in FILES} == set(BELOW)


def test_imports_point_down_and_siblings_do_not_know_each_other() -> None:
    wrong = [
        f"{name} imports {found}"
        for name in FILES
        for found in imports(name)
        if package(found) in BELOW
        and package(found) != package(name)
        and package(found) not in BELOW[package(name)]
    ]
    assert wrong == []


def test_no_room_may_import_what_it_does_not() -> None:
    used: dict[str, set[str]] = {room: set() for room in BELOW}
    for name in FILES:
        found = {package(dotted) for dotted in imports(name)}
        used[package(name)] |= (found & set(BELOW)) - {package(name)}
    assert used == BELOW


def test_the_picture_of_the_house_is_its_table_of_imports() -> None:
    arrows = [f"    {room} --> {lower}" for room, floor in BELOW.items() for lower in sorted(floor)]
    drawn = "\n".join(["```mermaid", "flowchart TD", *arrows, "```"])
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = page.partition("<!-- picture -->\n")[2].partition("\n<!-- /picture -->")[0]
    assert shown == drawn
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, `]+) \|$", page, re.MULTILINE))
    assert {library: set(re.findall(r"`(\w+)`", rows.get(library, ""))) for library in ONLY_IN} == (
        ONLY_IN
    )


def test_every_library_stays_in_its_room() -> None:
    wrong = [
        f"{name} imports {found}"
        for name in FILES
        for found in imports(name)
        if package(found) in ONLY_IN
        and package(name) not in ONLY_IN[package(found)]
        and not (name == LEAF and package(found) in LEAF_MAY)
    ]
    assert wrong == []


def test_nobody_imports_the_leaf_that_pulls_torch() -> None:
    assert LEAF in FILES
    wrong = [name for name in FILES for found in imports(name) if found.startswith(LEAF)]
    assert wrong == []


def test_the_delivered_inference_script_needs_nothing_of_the_project() -> None:
    assert [n for n in imports("trainer.inference") if package(n) in BELOW] == []


def test_tests_benches_and_deployments_are_not_imported_by_the_house() -> None:
    wrong = [
        f"{name} imports {found}"
        for name in FILES
        for found in imports(name)
        if package(found) in ("tests", "deployments", "examples", "benches")
        and package(name) != package(found)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_module_is_short_and_says_what_it_is(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert (ast.get_docstring(ast.parse(text)) or "").strip(), "no docstring"
    if name != "trainer.inference":  # delivered as one file, so it may not be split
        assert text.count("\n") <= LIMIT
    assert name.rsplit(".", 1)[-1] not in GRAB_BAGS


def test_no_module_of_flows_has_the_name_of_a_dependency() -> None:
    """A path entrypoint puts flows/ first on sys.path, where such a module hides the library."""
    mine = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    installed = set(importlib.metadata.packages_distributions()) | set(sys.stdlib_module_names)
    assert mine & (installed - set(BELOW)) == set()


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that are loaded after a statement in a fresh interpreter."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {package(n) for n in json.loads(done.stdout.splitlines()[-1])}


HELP = """
sys.argv = ["brightrun", "--help"]
from flows.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def test_help_loads_nothing_heavy() -> None:
    heavy = {
        "prefect",
        "torch",
        "great_expectations",
        "pandas",
        "matplotlib",
        "sqlalchemy",
        "numpy",
    }
    assert loaded_by(HELP) & heavy == set()


def test_a_flow_is_driven_without_what_its_pieces_need() -> None:
    """They run in processes of their own: a worker drives many jobs, each for hours."""
    heavy = {"pandas", "numpy", "scipy", "pyarrow", "great_expectations", "matplotlib", "typst"}
    assert loaded_by("import flows.finetune") & heavy == set()


def test_the_ground_floor_loads_without_the_heavy_libraries() -> None:
    names = ", ".join(n for n in FILES if package(n) == "brightrun" and not n.endswith("__init__"))
    assert loaded_by(f"import {names}") & {"prefect", "torch", "transformers", "pandas",
                                           "great_expectations"} == set()  # fmt: skip


def test_the_pods_way_to_its_markers_uses_the_standard_library_only() -> None:
    loaded = loaded_by("import trainer.entry, trainer.outbox, trainer.logtee, trainer.pod")
    third = {n for n in loaded if n not in sys.stdlib_module_names and not n.startswith("_")}
    assert third & (set(importlib.metadata.packages_distributions()) - set(BELOW)) == set()
