"""Email addresses as people type them. Pure."""

from __future__ import annotations

from email.policy import default


def checked(text: str) -> str:
    """The text, when it is empty or comma-separated addresses; ValueError.

    Python's own parser of headers decides, as a letter is addressed with it; it raises IndexError
    and AttributeError for some of what is no address ("ann@", "a@[").
    """
    try:
        header = default.header_factory("To", text)
        found = [mailbox for mailbox in header.addresses if mailbox.username and mailbox.domain]
        sound = not header.defects and len(found) == len(header.addresses)
    except (LookupError, AttributeError, ValueError):
        sound = False
    if text and not (sound and found):
        raise ValueError(f"{text!r} is no address, like ann@example.org")
    return text
