"""A mail server on loopback that keeps what it is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Inbox:
    """`mails` are texts: subject, empty line, body; `pages` the HTML of each; `to` its address."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.pages: list[str] = []
        self.to: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = message_from_bytes(bytes(envelope.content or b""), policy=default)
        plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
        assert plain is not None
        assert page is not None
        self.mails.append(f"{mail['Subject']}\n\n{plain.get_content()}")
        self.pages.append(str(page.get_content()))
        self.to.append(str(mail["To"]))
        return "250 kept"


@contextmanager
def mail_server() -> Iterator[tuple[Inbox, dict[str, str]]]:
    """The inbox, and the environment that sends mails there."""
    inbox = Inbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield (
            inbox,
            {
                "BRIGHTRUN_SMTP_HOST": "127.0.0.1",
                "BRIGHTRUN_SMTP_PORT": str(port),
                "BRIGHTRUN_SMTP_STARTTLS": "false",
                "BRIGHTRUN_EMAIL_FROM": "runs@example.org",
                "BRIGHTRUN_EMAIL_TO": "ann@example.org",
            },
        )
    finally:
        controller.stop()
