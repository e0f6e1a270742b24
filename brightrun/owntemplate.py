"""The chat template that a base model brings, rendered as transformers renders it, without it.

It is foreign code: it runs in jinja's sandbox, sees the messages and nothing else, and only shows
whether one of our templates (brightrun.chat) writes the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import jinja2.ext
from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from brightrun.chat import DATE, TEMPLATES, Family, GenerationTag, spans
from brightrun.conversations import Message
from brightrun.errors import ConfigurationError

AROUND = 40
# White space at the edges, a conversation without a system prompt, an answer still to be given.
PROBES: tuple[tuple[tuple[Message, ...], bool], ...] = tuple(
    (tuple({"role": role, "content": text} for role, text in talk), prompt)
    for talk, prompt in (
        ((("system", " Be kind.\n"), ("user", "\n Hm? "), ("assistant", " Yes.\n"),
          ("user", "Thanks"), ("assistant", "Gladly. ")), False),
        ((("system", "Be kind."), ("user", "Hm?")), True),
        ((("user", "Hm?"), ("assistant", "Yes.")), False),
    )
)  # fmt: skip


@dataclass(frozen=True)
class OwnTemplate:
    """A compiled chat template with the names that transformers gives it. `on`: today's date."""

    compiled: Template
    special: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: str, special: dict[str, str] | None = None, on: date = DATE) -> OwnTemplate:
        """Compile it. ConfigurationError when it is no template."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Untagged, jinja2.ext.loopcontrols],
            autoescape=False,
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = on.strftime
        try:
            return cls(environment.from_string(source), special or {})
        except TemplateError as error:
            raise _unusable(error) from None

    def render(self, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
        """What the model was made to read. ConfigurationError when the template refuses it."""
        plain = [{"role": m["role"], "content": m["content"]} for m in messages]
        try:
            return self.compiled.render(
                messages=plain,
                tools=None,
                documents=None,
                add_generation_prompt=generation_prompt,
                **self.special,
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise _unusable(error) from None


class _Untagged(GenerationTag):
    """A training template's tags change nothing in what is rendered."""

    @staticmethod
    def mark(caller: Callable[[], str]) -> str:
        return caller()


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _unusable(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the base model's own chat template cannot be used: {str(error)[:200]}",
        cause="it is damaged, or it refuses a conversation of system, user and assistant turns",
        fault="bad_template",
    )


def own_template(folder: Path) -> OwnTemplate | None:
    """Of chat_template.jinja, else of tokenizer_config.json; None when the model brings none."""
    try:
        config = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        config = {}
    source = config.get("chat_template")
    if isinstance(source, list):  # several by name
        source = next((t["template"] for t in source if t.get("name") == "default"), None)
    file = folder / "chat_template.jinja"
    if file.is_file():
        source = file.read_text(encoding="utf-8")
    if not source:
        return None
    tokens = {key: value for key, value in config.items() if key.endswith("_token")}
    texts = {k: v.get("content") if isinstance(v, dict) else v for k, v in tokens.items()}
    return OwnTemplate.of(source, {k: v for k, v in texts.items() if isinstance(v, str)})


def matching(own: OwnTemplate, families: Sequence[Family]) -> Family:
    """The first of our families that writes what the model's own template writes.

    ConfigurationError shows the first difference to the family that comes nearest.
    """
    nearest: tuple[int, str] = (-1, "")
    for family in families:
        for number, (messages, prompt) in enumerate(PROBES):
            ours = "".join(s.text for s in spans(messages, family, generation_prompt=prompt))
            theirs = own.render(messages, generation_prompt=prompt)
            at = first_difference(ours, theirs)
            if at is not None:
                words = f"template {family}, probe {number + 1}, {both(ours, theirs, at)}"
                nearest = max(nearest, (number * 100_000 + at, words), key=lambda found: found[0])
                break
        else:
            return family
    raise ConfigurationError(
        "none of our chat templates writes what the base model's own writes; "
        f"nearest: {nearest[1]}",
        cause=f"a format that is none of {', '.join(TEMPLATES)}",
        fault="bad_template",
    )


def first_difference(one: str, other: str) -> int | None:
    """Position (0-based, in characters) where two texts part; None when they are equal."""
    if one == other:
        return None
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def both(ours: str, theirs: str, at: int) -> str:
    """The two texts around a position, as a person is shown them."""
    mine, own = (text[max(0, at - AROUND) : at + AROUND] for text in (ours, theirs))
    return f"character {at}: ours writes {mine!r}, the model's own {own!r}"
