"""A conversation as the model reads it: the chat template, rendered into marked spans.

The texts never pass through the template: placeholders do. So a client who types `<|im_end|>`
adds characters to his message, not the end of his turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from jinja2 import Template, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from brightrun.conversations import Message

Family: TypeAlias = Literal["llama3", "chatml"]
TEMPLATES = Path(__file__).with_name("templates")
CONTROL_TOKENS: dict[Family, tuple[str, ...]] = {
    "llama3": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "chatml": ("<|im_start|>", "<|im_end|>"),
}
END_OF_TURN: dict[Family, str] = {"llama3": "<|eot_id|>", "chatml": "<|im_end|>"}
# Private-use marks: they live only in the skeleton, where no foreign text is.
BEGIN, END, OPEN, CLOSE = "\ue000", "\ue001", "\ue002", "\ue003"
PIECES = re.compile(f"({BEGIN}|{END}|{OPEN}\\d+{CLOSE}|<\\|[a-z_]+\\|>)")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the rendered conversation. kind: control = one special token of the template."""

    text: str
    kind: Literal["control", "literal", "content"]
    supervised: bool


class GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}`: the inner text is what the model is trained on."""

    tags = {"generation"}  # noqa: RUF012 (jinja reads it as an instance's)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    @staticmethod
    def mark(caller: Callable[[], str]) -> str:
        return f"{BEGIN}{caller()}{END}"


@cache
def template(family: Family) -> Template:
    """Our template of a family, compiled in jinja's sandbox."""
    environment = ImmutableSandboxedEnvironment(
        extensions=[GenerationTag], autoescape=False, keep_trailing_newline=False
    )  # autoescape would change the text: this is no HTML
    return environment.from_string(template_text(family))


def template_text(family: Family) -> str:
    """Source of our template; transformers and TRL accept it as a chat template too."""
    return (TEMPLATES / f"{family}.jinja").read_text(encoding="utf-8")


def spans(
    messages: Sequence[Message], family: Family, *, generation_prompt: bool = False
) -> list[Span]:
    """The rendered conversation in order; joined, the texts are what the model reads."""
    slots = [{**m, "content": f"{OPEN}{n}{CLOSE}"} for n, m in enumerate(messages)]
    skeleton = template(family).render(messages=slots, add_generation_prompt=generation_prompt)
    found: list[Span] = []
    supervised = False
    for piece in PIECES.split(skeleton):
        if piece in (BEGIN, END):
            supervised = piece == BEGIN
        elif piece.startswith(OPEN):
            text = str(messages[int(piece[1:-1])]["content"])
            # The placeholder took the template's `trim`, so the text takes it here.
            text = text.strip() if family == "llama3" else text
            found.append(Span(text, "content", supervised))
        elif piece in CONTROL_TOKENS[family]:
            found.append(Span(piece, "control", supervised))
        elif piece:
            found.append(Span(piece, "literal", supervised))
    return found
