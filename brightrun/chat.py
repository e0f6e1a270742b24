"""A conversation as the model reads it: the chat template, rendered into marked spans.

The texts never pass through the template: placeholders do. So a client who types `<|im_end|>`
adds characters to his message, not the end of his turn.

Which template fits a base model is shown by comparison with its own (brightrun.proof). Llama 3.1,
3.2 and 3.3 write a date into the system header. Trained and measured is always under the date
that 3.1's and 3.3's own templates fall back to, 26 Jul 2024 (3.2's would take today's, and no run
could be repeated): it stands in our template, whose hash is recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from jinja2 import Template, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from brightrun.conversations import Message

Family: TypeAlias = Literal["llama3", "llama3.1", "chatml", "smollm2", "qwen2", "qwen2.5"]
FOLDER = Path(__file__).with_name("templates")
DATE = date(2024, 7, 26)
"""What `Today Date` says in Llama 3.1's, 3.2's and 3.3's system header."""
LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
CHATML = ("<|im_start|>", "<|im_end|>")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A generation-tagged template of ours.

    controls: special tokens that it writes; the last one ends a turn. begins: the only one that
    stands once in a conversation, at its beginning. trims: texts lose the white space around
    them. default_system: the system prompt of a conversation that brings none.
    """

    file: str
    controls: tuple[str, ...]
    begins: str | None = None
    trims: bool = False
    default_system: str | None = None

    @property
    def end_of_turn(self) -> str:
        return self.controls[-1]


# In order of preference where several fit. llama3.1 is 3.1's, 3.2's and 3.3's.
TEMPLATES: dict[Family, ChatTemplate] = {
    "llama3": ChatTemplate("llama3.jinja", LLAMA, "<|begin_of_text|>", trims=True),
    "llama3.1": ChatTemplate("llama3_1.jinja", LLAMA, "<|begin_of_text|>", trims=True),
    "chatml": ChatTemplate("chatml.jinja", CHATML),
    "smollm2": ChatTemplate(
        "chatml.jinja",
        CHATML,
        default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    ),
    "qwen2": ChatTemplate("chatml.jinja", CHATML, default_system="You are a helpful assistant."),
    "qwen2.5": ChatTemplate(
        "chatml.jinja",
        CHATML,
        default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    ),
}
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
    ours = TEMPLATES[family]
    text = (FOLDER / ours.file).read_text(encoding="utf-8")
    if ours.default_system is None:
        return text
    return f"{{%- set default_system = {json.dumps(ours.default_system)} -%}}\n{text}"


def spans(
    messages: Sequence[Message], family: Family, *, generation_prompt: bool = False
) -> list[Span]:
    """The rendered conversation in order; joined, the texts are what the model reads."""
    ours = TEMPLATES[family]
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
            text = text.strip() if ours.trims else text
            found.append(Span(text, "content", supervised))
        elif piece in ours.controls:
            found.append(Span(piece, "control", supervised))
        elif piece:
            found.append(Span(piece, "literal", supervised))
    return found
