"""What doctor and setup found: one finding for each thing looked at, in words without secrets.

    found = examine(CHECKS, settings, hidden(os.environ))

A check says what is wrong in findings; what it raises instead becomes one that failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args
from urllib.parse import unquote

from pydantic import AliasChoices, SecretStr, computed_field

from brightrun.errors import BrightRunError
from brightrun.frozen import Frozen
from brightrun.outages import told
from brightrun.settings import Settings

# skip: not configured, or not to be known from here. todo, done: only of setup.
State = Literal["ok", "warn", "fail", "skip", "todo", "done"]
AT_ONCE = 8
HIDDEN = "**********"
LOOKS_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL")
SHORTEST = 8  # of what only its variable's name makes a secret: "1" and "true" are none
GENERAL = "docs/production.md"
# Page by finding, where it is another one.
PAGES = {
    "settings": "README.md",
    "disk": "docs/storage.md",
    "memory": "docs/estimates.md",
    "base model": "docs/runpod.md",
    "model hub": "docs/runpod.md",
    "pod storage": "docs/runpod.md",
    "runpod": "docs/runpod.md",
    "runpod credit": "docs/runpod.md",
    "runpod image": "docs/image.md",
    "runpod volume": "docs/runpod.md",
    "runpod template": "docs/runpod.md",
    "month": "docs/budget.md",
    "quota": "docs/cost.md",
    "judges": "docs/judging.md",
    "people": "docs/notifications.md",
    "slack": "docs/notifications.md",
    "email": "docs/notifications.md",
    "webhook": "docs/notifications.md",
    "slack message": "docs/notifications.md",
    "email message": "docs/notifications.md",
    "webhook message": "docs/notifications.md",
    "prefect": "docs/team.md",
    "work pool": "docs/team.md",
    "deployments": "docs/team.md",
    "automations": "docs/team.md",
    "worker": "docs/team.md",
}
IN_URL = re.compile(r"://[^/@\s]*:([^/@\s]+)@")


class Finding(Frozen):
    """said: what was found, with the value. fix: what to do about it; "" when nothing.

    page: where it is explained, a path in this checkout.
    """

    name: str
    state: State
    said: str
    fix: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def page(self) -> str:
        return PAGES.get(self.name, GENERAL)

    @property
    def advice(self) -> str:
        """The fix with its page; "" for what needs none."""
        if self.state not in ("warn", "fail") and not self.fix:
            return ""
        return "; ".join(word for word in (self.fix, f"see {self.page}") if word)


Check = Callable[[Settings], Iterable[Finding]]


def examine(
    checks: Mapping[str, Check], settings: Settings, secrets: Sequence[str]
) -> tuple[Finding, ...]:
    """The findings of all checks in their order; they wait for services side by side."""

    def look(item: tuple[str, Check]) -> list[Finding]:
        return attempted(item[0], lambda: item[1](settings), secrets)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return tuple(found for part in pool.map(look, checks.items()) for found in part)


def attempted(
    name: str, look: Callable[[], Iterable[Finding]], secrets: Sequence[str]
) -> list[Finding]:
    """Findings with their secrets masked; an exception is one more, that failed."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # noqa: BLE001 one service's surprise must not hide the others
        found.append(failed(name, told(error)))
    return [masked(finding, secrets) for finding in found]


def failed(name: str, error: BrightRunError) -> Finding:
    cause = f" ({error.cause})" if error.cause else ""
    return Finding(name=name, state="fail", said=f"{error.message}{cause}", fix=error.fix)


def counts(found: Iterable[Finding]) -> dict[str, int]:
    """How many there are of each state that occurs."""
    states = [finding.state for finding in found]
    return {state: states.count(state) for state in get_args(State) if state in states}


def masked(finding: Finding, secrets: Sequence[str]) -> Finding:
    said, fix = without(finding.said, secrets), without(finding.fix, secrets)
    return finding.model_copy(update={"said": said, "fix": fix})


def without(text: str, secrets: Sequence[str]) -> str:
    """The text with stars for every secret, the longest first: one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def hidden(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Every secret of an environment: our secret settings, passwords in URLs, names that say so."""
    ours = {name for name, is_secret in names().items() if is_secret}
    found: set[str] = set()
    for name, value in environ.items():
        if name.upper() in ours or (LOOKS_SECRET.search(name.upper()) and len(value) >= SHORTEST):
            found.add(value)
        found.update(IN_URL.findall(value))
    return tuple(sorted({form for one in found for form in (one, unquote(one)) if form}))


def names() -> dict[str, bool]:
    """The variables that settings are read from, in capitals, and whether each is a secret."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [f"BRIGHTRUN_{name}"]
        secret = SecretStr in (field.annotation, *get_args(field.annotation))
        found.update({str(choice).upper(): secret for choice in choices})
    return found
