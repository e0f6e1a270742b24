"""The numbers and lists on pages under docs/ are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
from commands import ROOT, inside

from brightrun.errors import FAMILIES
from brightrun.jobs import PRESETS, SETTABLE
from brightrun.verdicts import EvidenceKind, MetricName, TargetMet
from evals import statistics
from evals.plan import FLOORS, TARGETS
from trainer import inference, merge

DOCS = ROOT / "docs"
FILE = str(ROOT / "examples" / "training-file.json")


def rows(page: str, head: str) -> list[list[str]]:
    """The cells of the table under a header line, without backticks."""
    text = (DOCS / f"{page}.md").read_text()
    lines = text[text.index(head) :].partition("\n\n")[0].splitlines()[2:]
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines
    ]


def test_troubleshooting_has_an_entry_for_every_code_of_the_error_tree() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    assert sorted(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == sorted(FAMILIES)


def test_the_page_of_presets_has_every_value_in_which_they_differ() -> None:
    table = rows("presets", "| value | conservative")
    by_field = {name: [getattr(p.values, name) for p in PRESETS.values()] for name in SETTABLE}
    differ = {name: [float(v) for v in values] for name, values in by_field.items()
              if len(set(values)) > 1}  # fmt: skip
    assert {name: [float(v) for v in values] for name, *values in table} == differ


def test_the_page_of_presets_has_their_words_and_their_estimates(home: Path) -> None:
    table = rows("presets", "| preset | planned |")
    said = {name.split()[0]: rest for name, *rest in rows("presets", "| preset | for |")}
    assert [row[0] for row in table] == list(PRESETS)
    for name, planned, spot, hours, likely, span in table:
        info = PRESETS[name]
        assert said[name][1:] == [info.expected, info.risk]
        assert (planned, spot) == (info.users_hours or "none", info.users_spot_cost or "none")
        words = ("estimate", FILE, "--preset", name, "--provider", "runpod", "--json")
        found = inside(home, *words).json
        cost = found["cost_usd"]
        assert hours == f"{found['hours']['likely']:.2f}"
        assert likely == f"${cost['likely']:.2f}"
        assert span == f"${cost['low']:.2f} to ${cost['high']:.2f}"


def minutes(estimate: dict[str, Any], part: str) -> str:
    return f"{estimate['parts'][part]['likely'] / 60:.1f}"


@pytest.mark.slow
def test_the_page_of_costs_has_what_the_estimate_says(home: Path) -> None:
    def estimate(*more: str) -> dict[str, Any]:
        return inside(home, "estimate", FILE, "--provider", "runpod", "--json", *more).json

    plain = estimate()
    parts = {name.replace(" ", "_"): value for name, value in rows("cost", "| part | likely")}
    assert parts == {name: minutes(plain, name) for name in plain["parts"]}
    table = rows("cost", "| `--set` | steps |")
    assert len(table) > 8
    for change, *told in table:
        found = plain if change == "none" else estimate("--set", change)
        assert told == [
            str(found["steps"]),
            f"{found['tokens_per_epoch']:,}",
            minutes(found, "training"),
            minutes(found, "measuring"),
            f"${found['cost_usd']['likely']:.2f}",
        ]


def test_the_page_of_the_method_has_the_plans_targets_kinds_and_rules() -> None:
    def shown(metric: MetricName, value: float | None) -> str:
        return "none" if value is None else f"{value:+.0%}" if metric in FLOORS else f"{value:.0%}"

    told = {row[0]: row[2] for row in rows("evaluation", "| metric | on what |")}
    assert told == {m.value: shown(m, target) for m, target in TARGETS.items()}
    page = (DOCS / "evaluation.md").read_text()
    assert ", ".join(f"{v:+.0%} for `{m.value}`" for m, v in FLOORS.items()) in page
    assert f"{statistics.DRAWS:,} draws" in page
    assert f"fewer than {statistics.MIN_CLUSTERS} clusters" in page
    kinds = [row[0] for row in rows("evaluation", "| kind | what it is |")]
    assert kinds == [kind.value for kind in EvidenceKind]
    verdicts = [row[0].replace(" ", "_") for row in rows("evaluation", "| verdict | when |")]
    assert verdicts == list(get_args(TargetMet))


def test_the_integration_guide_lists_the_packages_files_and_options_that_there_are() -> None:
    """The guide's table is that of the README in the zip; its commands are understood."""
    inside_zip = (ROOT / "reports" / "package_files" / "README.md").read_text()
    table = inside_zip.partition("## What is inside")[2].partition("## Set-up")[0]
    table = re.sub(r"\{% else %\}.*?\{% endif %\}", "", table, flags=re.DOTALL)
    files = re.findall(r"^\| (.+) \| .+ \|$", table, re.MULTILINE)[1:]
    assert [row[0] for row in rows("integration", "| File | what for |")] == files
    page = (DOCS / "integration.md").read_text()
    scripts = {"inference.py": inference.arguments, "merge.py": merge.arguments}
    found = re.findall(r"^python (\w+\.py) (.+)$", page, re.MULTILINE)
    assert {script for script, _ in found} == set(scripts)
    for script, words in found:
        scripts[script](shlex.split(words))


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [p.name for p in sorted(DOCS.glob("*.md")) if f"](docs/{p.name})" not in readme] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    links = [(p, link) for p in pages for link in re.findall(r"\]\(([\w./-]+)\)", p.read_text())]
    assert [f"{p.name}: {link}" for p, link in links if not (p.parent / link).exists()] == []
