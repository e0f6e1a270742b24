"""What doctor looks at on this machine: settings, packages, base models, disk and memory."""

from __future__ import annotations

import difflib
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ValidationError

from brightrun import basemodels, ownmemory
from brightrun.errors import ConfigurationError
from brightrun.findings import Finding, State, names
from brightrun.people import load_people
from brightrun.settings import CHECKOUT, Settings, load

# Set by our own processes for one another, or with --debug.
OWN_NAMES = frozenset(
    {"BRIGHTRUN_DEBUG", "BRIGHTRUN_UI", "BRIGHTRUN_PARENT", "BRIGHTRUN_HANDS_OVER"}
)
PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)$", re.MULTILINE)
REQUIREMENT = re.compile(r"^[A-Za-z0-9][\w.-]*")
INSTALL = "pip install -c constraints.txt -e '.[trainer,dev]'"
GB = 1e9
# The demo leaves 0.9 GB behind, most of it base model and checkpoints. Below the first number
# there is room for one such job, below the second for none.
DISK_WARN, DISK_FAIL = 10 * GB, 2 * GB
# What the demo's largest process takes (README), and a little for the others.
MEMORY_WARN = 4 * GB


def settings_of(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings as the environment has them, None when they cannot be; and what is wrong."""
    found = list(unknown_names(environ))
    try:
        settings = load()
    except ValidationError as error:
        # Without the values that pydantic prints: one may stand in the wrong variable.
        wrong = [malformed(str(e["loc"][0]), e["msg"]) for e in error.errors(include_input=False)]
        return None, [*wrong, *found]
    if not found:
        said = f"well-formed; state lies in {settings.home.resolve()}"
        found = [Finding(name="settings", state="ok", said=said)]
    return settings, found


def malformed(place: str, said: str) -> Finding:
    name = variable(place)
    return Finding(name="settings", state="fail", said=f"{name}: {said}", fix="set another value")


def variable(place: str) -> str:
    """The variable of a setting that pydantic names by its field or by its variable."""
    return place if place.isupper() else f"BRIGHTRUN_{place.upper()}"


def unknown_names(environ: Mapping[str, str]) -> Iterator[Finding]:
    """A mistyped variable is read by nobody and changes nothing: it has to be told."""
    known = sorted(names())
    for name in sorted(environ):
        if not name.startswith("BRIGHTRUN_") or name in known or name in OWN_NAMES:
            continue
        close = difflib.get_close_matches(name, known, 1)
        yield Finding(
            name="settings", state="warn", said=f"{name} is no setting and changes nothing",
            fix=f"did you mean {close[0]}?" if close else "see brightrun/settings.py",
        )  # fmt: skip


def people(settings: Settings) -> Iterator[Finding]:
    found = load_people(settings)  # ConfigurationError names the place
    told = [one.name for one in found if one.email or one.slack]
    if told:
        yield Finding(name="people", state="ok", said=f"messages go to {', '.join(told)}")
    else:
        yield Finding(
            name="people", state="skip", said="nobody has an address: nobody is told of anything",
            fix="give yourself one in people.toml",
        )  # fmt: skip


def packages(settings: Settings) -> Iterator[Finding]:
    """Pinned against installed; what a pin is for is that results can be repeated."""
    pinned = read_pins((CHECKOUT / "constraints.txt").read_text("utf-8"))
    missing, other = compare(pinned, needed(CHECKOUT / "pyproject.toml"), installed(pinned))
    if missing:
        said = f"not installed: {', '.join(missing)}"
        yield Finding(name="packages", state="fail", said=said, fix=INSTALL)
    if other:
        said = f"other versions than pinned: {', '.join(other)}"
        yield Finding(name="packages", state="warn", said=said, fix=INSTALL)
    if not missing and not other:
        said = f"what is installed of {len(pinned)} pinned packages has its pinned version"
        yield Finding(name="packages", state="ok", said=said)


def read_pins(text: str) -> dict[str, str]:
    """Package -> version of a constraints file."""
    return dict(PINNED.findall(text))


def needed(pyproject: Path) -> list[str]:
    """The packages that the project itself asks for, extras aside: a worker has no need of them."""
    listed = tomllib.loads(pyproject.read_text("utf-8"))["project"]["dependencies"]
    return [found[0] for line in listed if (found := REQUIREMENT.match(line))]


def installed(names: Mapping[str, str]) -> dict[str, str]:
    """The versions of those of them that are here."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def compare(
    pinned: Mapping[str, str], needed: list[str], here: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """(needed and not here, "name 1.0 instead of 1.1"). Pure. torch 2.13.0+cpu is 2.13.0."""
    found = {plain(name) for name in here}
    missing = [name for name in needed if plain(name) not in found]
    other = [
        f"{name} {here[name]} instead of {wanted}"
        for name, wanted in pinned.items()
        if name in here and here[name].partition("+")[0] != wanted
    ]
    return missing, other


def plain(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def models(settings: Settings) -> Iterator[Finding]:
    """The default base models: prepared here, or pinned where only pods have them."""
    name = settings.local_base_model
    try:
        folder = basemodels.prepared_folder(name, settings.models)
        yield Finding(name="base model", state="ok", said=f"{name} is prepared in {folder}")
    except ConfigurationError as error:
        yield Finding(name="base model", state="warn", said=error.message, fix=error.fix)
    rented = settings.runpod_base_model
    if settings.runpod_api_key is None:
        return
    hub = basemodels.HUB_ID.fullmatch(rented) is not None
    if hub and "@" not in rented:
        yield Finding(
            name="base model", state="fail", said=f"{rented} of RunPod has no revision",
            fix=f"set BRIGHTRUN_RUNPOD_BASE_MODEL={rented}@REVISION: else no pod is rented",
        )  # fmt: skip
    elif not basemodels.is_prepared(rented, settings.models):
        yield Finding(
            name="base model", state="fail",
            said=f"{rented} of RunPod is not prepared here: no job with it can be planned",
            fix=f"python -m trainer prepare {rented}, or copy its folder without the weights",
        )  # fmt: skip
    elif rented != name:
        yield Finding(name="base model", state="ok", said=f"{rented} of RunPod is prepared here")


def disk(settings: Settings) -> Iterator[Finding]:
    place = settings.home.resolve()
    while not place.exists():
        place = place.parent
    yield room(shutil.disk_usage(place).free, place)


def room(free: float, place: Path) -> Finding:
    """What so many free bytes are enough for. Pure."""
    said = f"{free / GB:.0f} GB free at {place}"
    if free >= DISK_WARN:
        return Finding(name="disk", state="ok", said=said)
    state: State = "fail" if free < DISK_FAIL else "warn"
    fix = "brightrun clean, or BRIGHTRUN_HOME on a larger disk"
    return Finding(name="disk", state=state, said=said, fix=fix)


def memory(settings: Settings) -> Iterator[Finding]:
    free = float(ownmemory.available_bytes())
    said = f"{free / GB:.1f} GB free"
    if free >= MEMORY_WARN:
        yield Finding(name="memory", state="ok", said=said)
        return
    yield Finding(
        name="memory", state="warn", said=f"{said}; the demo trains in {MEMORY_WARN / GB:.0f}",
        fix="end other programs, or train with --base-model tiny or --provider runpod",
    )  # fmt: skip
