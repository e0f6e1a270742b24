"""A conversation that is longer than the limit, split at turn boundaries: `--set too_long=split`.

Each part begins with the system prompt and a client's turn and ends with an answer that is trained
on. Every such answer stands in exactly one part; what was said in an earlier part is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brightrun.conversations import Message

Lengths = Callable[[list[list[Message]]], list[int]]
"""Tokens of conversations: those of a conversation are its head's and the sum of its turns'."""


def longer(limit: int, context: int | None) -> str:
    """The mend of what is longer than `limit` that leaves the text as it is. context: all that the
    base model can read, None = not known."""
    if context is not None and limit >= context:
        most = f"{context:,} tokens are all this one can read"
        return f"take a base model with a longer context ({most})"
    known = "" if context is None else f"{context:,}, "
    return f"raise max_length (up to {known}the base model's context)"


def parts_of(messages: Sequence[Message], limit: int, lengths: Lengths) -> list[list[Message]]:
    """As few parts of at most `limit` tokens as can be, about equally long; [messages] if it fits.

    A question with its answer is never cut: when the two alone are longer than the limit, their
    part is too, and the caller refuses it.
    """
    whole = list(messages)
    head, groups = _groups(whole)
    if len(groups) < 2 or lengths([whole])[0] <= limit:
        return [whole]
    *alone, two = lengths([*([*head, *group] for group in groups), [*head, *groups[0], *groups[1]]])
    once = alone[0] + alone[1] - two  # what every part spends on its head
    sizes = [tokens - once for tokens in alone]
    cap = _smallest_cap(sizes, limit - once)
    cut = [
        [*head, *(message for group in groups[start:end] for message in group)]
        for start, end in _cuts(sizes, cap)
    ]
    return [part for part in map(_to_last_target, cut) if part]


def trained(message: Message) -> bool:
    """Whether a message is an answer that is trained on."""
    return message["role"] == "assistant" and message.get("supervised", True) is not False


def _groups(messages: list[Message]) -> tuple[list[Message], list[list[Message]]]:
    """System prompt, then the client's turns, each with what follows up to the next one."""
    first = next((n for n, m in enumerate(messages) if m["role"] != "system"), len(messages))
    groups: list[list[Message]] = []
    for message in messages[first:]:
        if message["role"] == "user" or not groups:
            groups.append([])
        groups[-1].append(message)
    return messages[:first], groups


def _cuts(sizes: list[int], cap: int) -> list[tuple[int, int]]:
    """(start, end) of each part when parts are filled in order up to `cap`."""
    found: list[tuple[int, int]] = []
    start, filled = 0, 0
    for at, size in enumerate(sizes):
        if at > start and filled + size > cap:
            found.append((start, at))
            start, filled = at, 0
        filled += size
    return [*found, (start, len(sizes))]


def _smallest_cap(sizes: list[int], cap: int) -> int:
    """The smallest cap that needs no more parts than `cap` does: it evens their lengths out."""
    wanted = len(_cuts(sizes, cap))
    low, high = 0, cap
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_cuts(sizes, middle)) <= wanted else (middle + 1, high)
    return high


def _to_last_target(part: list[Message]) -> list[Message]:
    """Without what stands after the last answer that is trained on; empty when there is none."""
    last = max((n for n, message in enumerate(part) if trained(message)), default=-1)
    return part[: last + 1]
