"""Guarantee, support, testimonials, case study: people's words from the brand file, or nothing."""

from __future__ import annotations

from collections.abc import Mapping

from brightrun.brand import Brand
from reports import blocks
from reports.blocks import twin
from reports.escape import Markdown, html, markdown, typst

SAID_BY_PEOPLE = "Words of people, from the brand file. They are not part of the measurement."


def heading(text: str, anchor: str) -> str:
    return f"\n\n# {markdown(text)} {{#{anchor}}}\n\n"


def terms(brand: Brand, words: Mapping[str, str]) -> list[tuple[str, str]]:
    """Guarantee and support under their labels, what there is of them."""
    said = ((words["guarantee"], brand.guarantee), (words["support"], brand.support))
    return [term for term in said if term[1]]


def section(brand: Brand, words: dict[str, str]) -> Markdown:
    """Empty when the brand file says nothing of the kind."""
    found = ""
    if promised := terms(brand, words):
        found += heading(words["assurance"], "assurance") + blocks.pairs(promised)
    if brand.testimonials or brand.case_study:
        found += heading(words["testimonials"], "testimonials") + markdown(SAID_BY_PEOPLE)
    for said in brand.testimonials:
        found += twin(
            f'<blockquote class="said"><p dir="auto">{html(said.quote)}</p>'
            f"<footer>{html(said.who)}</footer></blockquote>",
            f"#br-quote({typst(said.quote)}, {typst(said.who)})",
        )
    if brand.case_study:
        story = brand.case_study
        found += blocks.banner("plain", story.title, story.text)
    return Markdown(found)
