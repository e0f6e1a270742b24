"""Tell people what happened: Slack and email through one seam, off unless configured.

A message that cannot be sent never ends a job: the failure becomes a warning event.
"""

from __future__ import annotations

import html
import http.client
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from pydantic import Field
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from brightrun.frozen import Frozen
from brightrun.settings import Settings

TIMEOUT_SECONDS = 20
IMPLICIT_TLS = 465  # RFC 8314: this port speaks TLS from the first byte
SLACK_FAILS = (SlackClientError, OSError, http.client.HTTPException, ValueError)
# ValueError: an address or a password that cannot be encoded; its text may hold them.
MAIL_FAILS = (smtplib.SMTPException, OSError, ValueError)
STYLE = "font:15px/1.5 sans-serif;color:#222;max-width:640px;margin:auto"


class Message(Frozen):
    """A title, lines of plain text, links as (text, URL). kind: see `people.Kind`; facts: of its
    job, for programs."""

    title: str
    lines: tuple[str, ...] = ()
    kind: str = "digest"
    job_id: str = ""
    links: tuple[tuple[str, str], ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)


class SlackNotifier:
    """One message with blocks; waits and repeats when Slack answers 429.

    thread: `ts` of the message that it answers to; posted: `ts` of what was sent last.
    """

    def __init__(self, token: str, channel: str, base_url: str, thread: str = "") -> None:
        self.channel, self.thread, self.posted = channel, thread, ""
        self.client = WebClient(token=token, base_url=base_url, timeout=TIMEOUT_SECONDS)
        self.client.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=2))

    @classmethod
    def of(cls, settings: Settings, channel: str = "", thread: str = "") -> SlackNotifier | None:
        """The notifier that the settings describe; None while no token is set."""
        if settings.slack_token is None:
            return None
        token = settings.slack_token.get_secret_value()
        return cls(token, channel, settings.slack_base_url, thread)

    def reach(self) -> str | None:
        """What is wrong with the token, or None; posts nothing."""
        try:
            headers = self.client.auth_test().headers
        except SLACK_FAILS as error:
            return refused(error)
        scopes = {k.lower(): str(v) for k, v in headers.items()}.get("x-oauth-scopes")
        # Not every proxy hands the header on.
        lacking = scopes is not None and "chat:write" not in scopes.split(",")
        return "slack: the token has no scope chat:write" if lacking else None

    def send(self, message: Message) -> str | None:
        body = "\n".join(message.lines)
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": message.title[:150]}},
            {"type": "section", "text": {"type": "plain_text", "text": body[:2900] or "-"}},
        ]
        buttons = [
            {"type": "button", "text": {"type": "plain_text", "text": text[:75]}, "url": url}
            for text, url in message.links
            if url.startswith(("http://", "https://"))
        ]
        if buttons:
            blocks.append({"type": "actions", "elements": buttons[:5]})
        try:
            answer = self.client.chat_postMessage(
                channel=self.channel,
                text=message.title,
                blocks=blocks,
                thread_ts=self.thread or None,
            )
            self.posted = str(answer.get("ts") or "")
        except SLACK_FAILS as error:
            return refused(error)
        return None


class EmailNotifier:
    """Mail as text and HTML over SMTP: with TLS from the first byte on port 465 or where it is
    set, else with STARTTLS unless switched off."""

    def __init__(self, settings: Settings, to: str = "") -> None:
        self.settings, self.to = settings, to or settings.email_to

    def send(self, message: Message) -> str | None:
        s = self.settings
        try:
            mail = EmailMessage()
            mail["Subject"] = " ".join(message.title.split())
            mail["From"] = s.email_from
            mail["To"] = self.to
            links = (f"{text}: {url}" for text, url in message.links)
            mail.set_content("\n".join((message.title, "", *message.lines, *links)))
            mail.add_alternative(page(message), subtype="html")
            with self._session() as server:
                server.send_message(mail)
        except MAIL_FAILS as error:
            return f"email: {type(error).__name__}"
        return None

    def reach(self) -> str | None:
        """What is wrong with server, encryption or password, or None; sends no mail."""
        try:
            with self._session() as server:
                server.noop()
        except MAIL_FAILS as error:
            return f"email: {type(error).__name__}"
        return None

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        s = self.settings
        with self._connected() as server:
            if s.smtp_user and s.smtp_password is not None:
                server.login(s.smtp_user, s.smtp_password.get_secret_value())
            yield server

    @property
    def encrypted(self) -> bool:
        return self.settings.smtp_starttls or self._from_the_first_byte

    @property
    def _from_the_first_byte(self) -> bool:
        return self.settings.smtp_implicit_tls or self.settings.smtp_port == IMPLICIT_TLS

    def _connected(self) -> smtplib.SMTP:
        """Encrypted as the settings say, to a server that has proved who it is."""
        s, tls = self.settings, ssl.create_default_context()
        place = (s.smtp_host, s.smtp_port)
        if self._from_the_first_byte:
            return smtplib.SMTP_SSL(*place, timeout=TIMEOUT_SECONDS, context=tls)
        server = smtplib.SMTP(*place, timeout=TIMEOUT_SECONDS)
        if s.smtp_starttls:
            try:
                server.starttls(context=tls)
            except MAIL_FAILS:
                server.close()
                raise
        return server


def refused(error: Exception) -> str:
    """Slack's own word for it (channel_not_found) where there is one."""
    if isinstance(error, SlackApiError):
        return f"slack: {error.response.get('error') or error.response.status_code}"
    return f"slack: {type(error).__name__}"


def page(message: Message) -> str:
    """The mail as HTML: the same words, links to click, no picture and nothing to fetch."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in message.lines)
    links = "".join(
        f'<p><a href="{html.escape(url, quote=True)}">{html.escape(text)}</a></p>'
        for text, url in message.links
    )
    return (
        f'<!doctype html><html lang="en"><body style="{STYLE}"><h2 style="font-size:18px">'
        f"{html.escape(message.title)}</h2>{lines}{links}</body></html>"
    )
