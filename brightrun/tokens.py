"""Token ids and training masks of conversations, on `tokenizers` alone (no transformers)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from brightrun.chat import TEMPLATES, Family, Span, spans, template_text
from brightrun.conversations import Conversation, Message
from brightrun.errors import ConfigurationError
from brightrun.owntemplate import OwnTemplate, matching, own_template

AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence; the three tuples have one entry per token.

    supervised: assistant text and its end-of-turn token, what the loss is taken over.
    content: the same without the end-of-turn token, what perplexity is measured on.
    """

    input_ids: tuple[int, ...]
    supervised: tuple[bool, ...]
    content: tuple[bool, ...]


class ChatTokenizer:
    """A base model's tokenizer with our chat template.

    Special tokens come from the template only; in a text their spelling is encoded as plain
    text. Ids and masks equal those of transformers' apply_chat_template (a test shows it).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        family: Family,
        sha256: str = "",
        own: OwnTemplate | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # Foreign text cannot become a control token: their spelling is split like any other.
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.family: Family = family
        self.sha256 = sha256
        self.own = own
        ours = TEMPLATES[family]
        self._controls = {name: self._control(name) for name in ours.controls}
        self.eot_id: int = self._controls[ours.end_of_turn]
        self.bos_id: int | None = self._controls[ours.begins] if ours.begins else None
        added = tokenizer.get_added_tokens_decoder().values()
        self._special = tuple(token.content for token in added)
        self._literals: dict[str, tuple[int, ...]] = {}

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """From a prepared base model's folder. ConfigurationError when it has no usable one."""
        path = folder / "tokenizer.json"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"no tokenizer in {folder}: {error.strerror}",
                cause="the base model is not prepared",
                fix="run `python -m trainer prepare NAME`",
                fault="model_unusable",
            ) from None
        # One process of many: rayon's pool after a fork only warns and then runs on one thread.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        try:
            tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # noqa: BLE001 (the library raises bare Exception)
            raise ConfigurationError(
                f"{path} is damaged: {str(error)[:200]}",
                fix="delete the folder and run `python -m trainer prepare NAME` again",
                fault="model_unusable",
            ) from None
        own = own_template(folder)
        family = family_of(tokenizer, folder, own)
        digest = hashlib.sha256(data + template_text(family).encode()).hexdigest()
        return cls(tokenizer, family, digest, own)

    def _control(self, name: str) -> int:
        found = self.tokenizer.token_to_id(name)
        added = self.tokenizer.get_added_tokens_decoder()
        if found is None or found not in added or not added[found].special:
            raise ConfigurationError(
                f"{name} is no special token of this tokenizer",
                cause="the base model was not made for chat, or its tokenizer was changed",
                fault="bad_template",
            )
        return int(found)

    # --- training and measuring --------------------------------------------------------------
    def encode(self, messages: Sequence[Message]) -> Encoded:
        """One conversation as one sequence, with its masks."""
        return next(iter(self.encode_many([messages])))

    def encode_many(self, conversations: Iterable[Sequence[Message]]) -> list[Encoded]:
        """Several conversations at once: the texts are tokenized in parallel."""
        found: list[Encoded] = []
        source = iter(conversations)
        # In batches: while it is worked on, a token takes a hundred times its room.
        while batch := list(islice(source, AT_ONCE)):
            found += self._encode_batch(batch)
        return found

    def _encode_batch(self, conversations: list[Sequence[Message]]) -> list[Encoded]:
        plans = [_segments(spans(messages, self.family)) for messages in conversations]
        texts = [s.literal + s.content for plan in plans for s in plan if s.content]
        batch = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        ids = iter([encoding.ids for encoding in batch])
        return [self._assemble(plan, ids) for plan in plans]

    def lengths(self, conversations: Iterable[Sequence[Message]]) -> list[tuple[int, int]]:
        """(tokens, supervised tokens) of each conversation."""
        found = self.encode_many(conversations)
        return [(len(e.input_ids), sum(e.supervised)) for e in found]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to where the assistant's answer begins: system, user, ..., user."""
        plan = _segments(spans(messages, self.family, generation_prompt=True))
        texts = [s.literal + s.content for s in plan if s.content]
        batch = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        return list(self._assemble(plan, iter([e.ids for e in batch])).input_ids)

    def text(self, messages: Sequence[Message]) -> str:
        """The rendered conversation."""
        return "".join(span.text for span in spans(messages, self.family))

    # --- proof --------------------------------------------------------------------------------
    def ids_of_rendered(self, text: str) -> list[int]:
        """Ids of a text whose special tokens count as such: what transformers makes of it."""
        self.tokenizer.encode_special_tokens = False
        try:
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        finally:
            self.tokenizer.encode_special_tokens = True

    def spells_special(self, text: str) -> bool:
        """Whether a text holds the spelling of an added token."""
        return any(token in text for token in self._special)

    def check_beginning(self, ids: Sequence[int]) -> None:
        """One begin-of-text token at the head and nowhere else; without one, no doubled head.

        ConfigurationError shows the leading ids.
        """
        head = self._controls[TEMPLATES[self.family].controls[0]]
        once = self.bos_id is None or sum(i == self.bos_id for i in ids) == 1
        if len(ids) < 2 or ids[0] != head or ids[1] == head or not once:
            raise ConfigurationError(
                f"a sequence begins with the tokens {list(ids[:4])}, expected {head} once",
                cause="the tokenizer or the chat template adds or loses the first special token",
                fault="bad_template",
            )

    # --- plain text -----------------------------------------------------------------------------
    def count(self, text: str) -> int:
        """Tokens of a text outside any conversation."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def plain(self, text: str) -> tuple[int, ...]:
        """Ids of a text outside any conversation, after the begin-of-text token if there is one."""
        begins = () if self.bos_id is None else (self.bos_id,)
        return (*begins, *self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def preview(self, conversation: Conversation) -> list[tuple[str, bool]]:
        """(text, supervised) in order, template included."""
        return [(s.text, s.supervised) for s in spans(conversation.messages(), self.family)]

    # --- inside -----------------------------------------------------------------------------------
    def _literal(self, text: str) -> tuple[int, ...]:
        if text not in self._literals:
            found = self.tokenizer.encode(text, add_special_tokens=False).ids
            self._literals[text] = tuple(found)
        return self._literals[text]

    def _assemble(self, plan: list[_Segment], texts: Iterable[list[int]]) -> Encoded:
        ids: list[int] = []
        supervised: list[bool] = []
        content: list[bool] = []
        source = iter(texts)
        for segment in plan:
            literal = self._literal(segment.literal) if segment.literal else ()
            joint = next(source) if segment.content else list(literal)
            # Where literal and text share a token, the mask begins with it, as transformers' does.
            start = _common_prefix(literal, joint) if segment.content else len(joint)
            ids += joint
            for mask in (supervised, content):
                mask += [False] * start + [segment.supervised] * (len(joint) - start)
            if segment.control:
                ids.append(self._controls[segment.control])
                supervised.append(segment.control_supervised)
                content.append(False)
        return Encoded(tuple(ids), tuple(supervised), tuple(content))


@dataclass(slots=True)
class _Segment:
    """Plain text between two control tokens: template literal, then a message's text."""

    literal: str = ""
    content: str = ""
    supervised: bool = False
    control: str = ""
    control_supervised: bool = False


def _segments(rendered: list[Span]) -> list[_Segment]:
    found = [_Segment()]
    for span in rendered:
        last = found[-1]
        if span.kind == "control":
            last.control, last.control_supervised = span.text, span.supervised
            found.append(_Segment())
        elif span.kind == "content":
            last.content, last.supervised = span.text, span.supervised
        else:
            last.literal += span.text
    return found


def _common_prefix(literal: Sequence[int], joint: Sequence[int]) -> int:
    for at, (one, other) in enumerate(zip(literal, joint, strict=False)):
        if one != other:
            return at
    return min(len(literal), len(joint))


def family_of(tokenizer: Tokenizer, folder: Path, own: OwnTemplate | None) -> Family:
    """Template family whose special tokens there are and that writes what the model's own writes.

    A model without an own template has nothing to compare with: the first that fits is taken.
    ConfigurationError when none fits.
    """
    known = tokenizer.token_to_id
    fitting = [name for name, ours in TEMPLATES.items() if None not in map(known, ours.controls)]
    if not fitting:
        raise ConfigurationError(
            f"the tokenizer in {folder} has neither Llama 3's nor ChatML's special tokens",
            cause="a base model without a chat format, or one of another family",
            fault="bad_template",
        )
    return matching(own, fitting) if own is not None else fitting[0]
