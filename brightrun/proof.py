"""Proof on the job's own conversations: what we train on is what the model's template writes.

Token by token, before anything is paid for. Where a text spells a special token, ours reads it as
plain text and the model's own template would let it end a turn: there only the texts are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from brightrun.conversations import Message
from brightrun.errors import ConfigurationError
from brightrun.owntemplate import OwnTemplate, both, first_difference
from brightrun.tokens import ChatTokenizer

ENOUGH = 256
"""Conversations that are compared: all of a usual file, in about a second each million tokens."""


def prove(tokenizer: ChatTokenizer, conversations: Iterable[tuple[str, Sequence[Message]]]) -> int:
    """How many of the first ENOUGH (name, messages) were compared; 0 without an own template.

    ConfigurationError shows the first difference: conversation, position and both texts.
    """
    own = tokenizer.own
    compared = 0
    if own is None:
        return compared
    for name, messages in islice(conversations, ENOUGH):
        _compare(name, messages, tokenizer, own)
        compared += 1
    return compared


def unproven(tokenizer: ChatTokenizer) -> str:
    """What is said before a model is trained that nothing could be compared with; '' of others."""
    if tokenizer.own is not None:
        return ""
    return (
        "the base model has no chat template of its own: its conversations are written with "
        f"template {tokenizer.family}, and nothing was compared"
    )


def _compare(
    name: str, messages: Sequence[Message], tokenizer: ChatTokenizer, own: OwnTemplate
) -> None:
    ours, theirs = tokenizer.text(messages), own.render(messages)
    at = first_difference(ours, theirs)
    if at is not None:
        raise _different(name, tokenizer, both(ours, theirs, at))
    found = tokenizer.encode(messages).input_ids
    tokenizer.check_beginning(found)
    if any(tokenizer.spells_special(str(message["content"])) for message in messages):
        return
    wanted = tokenizer.ids_of_rendered(theirs)
    if list(found) == wanted:
        return
    pairs = enumerate(zip(found, wanted, strict=False))
    place = next((n for n, (a, b) in pairs if a != b), min(len(found), len(wanted)))
    before = len(tokenizer.tokenizer.decode(wanted[:place], skip_special_tokens=False))
    shown = both(ours, theirs, before)
    ids = (
        f"token {place}: ours {list(found[place : place + 4])}, {wanted[place : place + 4]} theirs"
    )
    raise _different(name, tokenizer, f"{ids}; {shown}")


def _different(name: str, tokenizer: ChatTokenizer, where: str) -> ConfigurationError:
    return ConfigurationError(
        f"conversation {name}: template {tokenizer.family} is not what the base model's own chat "
        f"template writes, {where}",
        cause="the model's template or tokenizer treats these texts in a way that ours does not",
        fault="bad_template",
    )
