"""The brand file: whose name, logo, colours and words a report carries. White-label in one place.

brand = read(Path("brand.toml"))      # examples/brand.toml shows every key
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from pydantic import Field, field_validator

from brightrun import tomlfiles
from brightrun.errors import ConfigurationError
from brightrun.frozen import Frozen

HOUSE = "Bright Run"
LEAST_CONTRAST = 4.5  # WCAG 2.2 AA, text of normal size
LARGEST_LOGO = 300_000
PICTURES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
ACTIVE_SVG = re.compile(rb"<script|<foreignObject|\son\w+\s*=|javascript:|<!ENTITY", re.I)
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, 0 to 1 (WCAG 2.2)."""

    def linear(part: str) -> float:
        share = int(part, 16) / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(colour[i : i + 2]) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


class Colours(Frozen):
    primary: str = Field("#0B5CAD", description="Titles, lines, links; readable on white")

    @field_validator("primary")
    @classmethod
    def readable(cls, value: str) -> str:
        if not _HEX.fullmatch(value):
            raise ValueError(f"{value!r} is no colour; write it as #0B5CAD")
        found = contrast(value, "#FFFFFF")
        if found < LEAST_CONTRAST:
            raise ValueError(
                f"{value} has a contrast of {found:.1f} on white; text needs {LEAST_CONTRAST}: "
                "choose a darker one"
            )
        return value.upper()


class Testimonial(Frozen):
    quote: str = Field(min_length=1, max_length=600)
    who: str = Field(min_length=1, max_length=120, description="Name, role, company")


class Story(Frozen):
    """A case study: shown as its author's words, never as a measurement."""

    title: str = Field(min_length=1, max_length=140)
    text: str = Field(min_length=1, max_length=3000)


class Brand(Frozen):
    """What a report takes from its brand; empty fields are left out of the page."""

    house: str = Field(HOUSE, min_length=1, max_length=60, description="Who issues the report")
    client: str = Field("", max_length=120, description="Client's name as it is printed")
    logo: str = Field("", description="PNG, SVG or JPEG beside the file; then a data URI")
    logo_alt: str = Field("", max_length=120, description="What the logo shows; default: the name")
    lang: str = Field(
        "en", pattern=r"^[a-z]{2}(-[A-Z]{2})?$", description="English: en, en-GB, en-US"
    )
    colours: Colours = Colours()
    strings: dict[str, str] = Field(
        default_factory=dict, description="Headings and labels by key (reports/words.py)"
    )
    guarantee: str = Field("", max_length=1500)
    support: str = Field("", max_length=1500)
    testimonials: tuple[Testimonial, ...] = Field((), max_length=6)
    case_study: Story | None = None

    @property
    def alt(self) -> str:
        return self.logo_alt or f"Logo of {self.client or self.house}"


def read(path: Path) -> Brand:
    """The brand with its logo inside; ConfigurationError names file, line and fault."""
    found = tomlfiles.read(path, Brand, "brand file")
    if not found.lang.startswith("en"):
        raise ConfigurationError(
            f"{path.name}, lang: a report's sentences are English, not {found.lang!r}",
            cause="a screen reader, a spell checker and hyphenation go by the document's language",
            fix="en, en-GB or en-US; `strings` may replace headings in any language",
        )
    if not found.logo:
        return found
    return found.model_copy(update={"logo": embedded(path.parent / found.logo, path.name)})


def embedded(logo: Path, named_in: str) -> str:
    """A picture as a data URI; one that is active, too large or of another kind is refused."""
    kind = PICTURES.get(logo.suffix.lower())
    if kind is None:
        raise ConfigurationError(
            f"{named_in}, logo: {logo.name} is no {', '.join(PICTURES)} file", fix="convert it"
        )
    try:
        content = logo.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{named_in}, logo: {logo} cannot be read: {error.strerror or error}",
            fix="the path is taken from the brand file's folder",
        ) from None
    if len(content) > LARGEST_LOGO:
        raise ConfigurationError(
            f"{named_in}, logo: {logo.name} has {len(content):,} bytes, more than "
            f"{LARGEST_LOGO:,}: every report would carry it",
            fix="make it smaller",
        )
    if kind == "image/svg+xml" and ACTIVE_SVG.search(content):
        raise ConfigurationError(
            f"{named_in}, logo: {logo.name} holds scripts or foreign content",
            fix="export it as a plain SVG, or as PNG",
        )
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
