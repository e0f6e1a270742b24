"""The numbers and lists on pages under docs/ are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from commands import ROOT, inside

from brightrun.errors import FAMILIES
from brightrun.jobs import PRESETS, SETTABLE

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


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [p.name for p in sorted(DOCS.glob("*.md")) if f"](docs/{p.name})" not in readme] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    links = [(p, link) for p in pages for link in re.findall(r"\]\(([\w./-]+)\)", p.read_text())]
    assert [f"{p.name}: {link}" for p, link in links if not (p.parent / link).exists()] == []
