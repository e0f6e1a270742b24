"""Show what will be trained on: supervised text marked, the rest grey."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from brightrun.chat import spans
from brightrun.conversations import Conversation
from brightrun.counting import count
from brightrun.tokens import ChatTokenizer

GREY, BOLD, PLAIN = "\x1b[90m", "\x1b[1m", "\x1b[0m"
# A training file is foreign text: it must not steer the terminal that shows it.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>What will be trained on</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body {{ font: 16px/1.55 Georgia, serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d2733; background: #fff }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.1rem; margin-top: 2.5rem }}
pre {{ font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; color: #6b7280 }}
mark {{ background: #d7efe4; color: #0b3d2c; padding: .05em 0 }}
.fault {{ color: #a8322a; font-weight: 650 }}
.facts {{ color: #4b5563; font-size: .9rem }}
</style></head><body>
<h1>What will be trained on</h1>
{fault}<p class="facts">{title}. <mark>Marked</mark> text is what the model learns
to write; grey text is what it reads before.</p>
{body}
</body></html>
"""


def title_of(file: str, shown: Sequence[Conversation], total: int | None) -> str:
    """ "a.json, conversations 1-3 of 24"; total None: nobody has counted them."""
    first, last = shown[0].index, shown[-1].index
    which = f"conversations {first}-{last}" if last > first else f"conversation {first}"
    of = "" if total is None else f" of {total:,}"
    return UNPRINTABLE.sub("\ufffd", f"{file}, {which}{of}")


def preview_text(
    conversations: Iterable[Conversation],
    tokenizer: ChatTokenizer | None = None,
    *,
    colour: bool = True,
) -> str:
    """For a terminal. Without colour, supervised text stands between [[ and ]].

    Without a tokenizer the ChatML template is shown and no tokens are counted.
    """
    parts: list[str] = []
    for conversation in conversations:
        parts.append(f"{_title(conversation, tokenizer)}\n\n")
        for text, supervised in _spans(conversation, tokenizer):
            clean = UNPRINTABLE.sub("\ufffd", text)
            if colour:
                parts.append(f"{BOLD if supervised else GREY}{clean}{PLAIN}")
            else:
                parts.append(f"[[{clean}]]" if supervised else clean)
        parts.append("\n\n")
    return "".join(parts)


def preview_html(
    conversations: Iterable[Conversation],
    tokenizer: ChatTokenizer | None = None,
    *,
    title: str,
    fault: str = "",
) -> str:
    """One self-contained page: no script, nothing loaded, every text escaped.

    fault: what is wrong with the file, "" for nothing.
    """
    parts: list[str] = []
    for conversation in conversations:
        pieces = (
            f"<mark>{escape(text)}</mark>" if supervised else escape(text)
            for text, supervised in _spans(conversation, tokenizer)
        )
        head = escape(_title(conversation, tokenizer))
        parts.append(f"<h2>{head}</h2>\n<pre>{''.join(pieces)}</pre>")
    wrong = f'<p class="fault">{escape(fault)}</p>' if fault else ""
    return PAGE.format(title=escape(title), fault=wrong, body="\n".join(parts))


def preview_json(
    conversations: Iterable[Conversation], tokenizer: ChatTokenizer | None = None
) -> list[dict[str, Any]]:
    """[{conversation, conversation_id, spans: [{text, supervised}]}]."""
    return [
        {
            "conversation": c.index,
            "conversation_id": c.conversation_id,
            "spans": [{"text": t, "supervised": s} for t, s in _spans(c, tokenizer)],
        }
        for c in conversations
    ]


def _spans(conversation: Conversation, tokenizer: ChatTokenizer | None) -> list[tuple[str, bool]]:
    """Neighbouring spans of one kind joined."""
    if tokenizer is not None:
        found = tokenizer.preview(conversation)
    else:
        found = [(s.text, s.supervised) for s in spans(conversation.messages(), "chatml")]
    joined: list[tuple[str, bool]] = []
    for text, supervised in found:
        if joined and joined[-1][1] == supervised:
            joined[-1] = (joined[-1][0] + text, supervised)
        else:
            joined.append((text, supervised))
    return joined


def _title(conversation: Conversation, tokenizer: ChatTokenizer | None) -> str:
    answers = count(conversation.supervised_pairs, "answer")
    facts = f"{conversation.arc}, {conversation.persona}; {answers}"
    if not conversation.supervised_pairs:
        facts += ", left out of the training"
    elif tokenizer is not None:
        tokens, supervised = tokenizer.lengths([conversation.messages()])[0]
        facts += f"; {tokens:,} tokens, {supervised / tokens:.0%} supervised"
    title = f"Conversation {conversation.index}: {conversation.conversation_id} ({facts})"
    return UNPRINTABLE.sub("\ufffd", title).replace("\n", " ")
