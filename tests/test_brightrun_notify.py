"""Notifications over a real SMTP server and a fake Slack; an outage never raises."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from fakes.slack import FakeSlack, slack
from pydantic import SecretStr

from brightrun import notify
from brightrun.ledger import Ledger
from brightrun.notify import EmailNotifier, Message, SlackNotifier
from brightrun.people import default_people, routes
from brightrun.posting import channels_of, post
from brightrun.settings import Settings

MESSAGE = Message(title="Bright Run job 1 completed", lines=("Report: http://127.0.0.1/r", "ok 😟"))
TOKEN = "xoxb-planted-secret"
PASSWORD = "planted-password"


class Inbox:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return "250 kept"


@pytest.fixture
def fake_slack() -> Iterator[FakeSlack]:
    with slack() as fake:
        yield fake


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def post_office() -> Iterator[tuple[Inbox, int]]:
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield inbox, controller.port
    controller.stop()


def slack_settings(url: str) -> Settings:
    return Settings(slack_token=SecretStr(TOKEN), slack_channel="#runs", slack_base_url=url)


def mail_settings(port: int, **more: object) -> Settings:
    fields: dict[str, object] = {
        "smtp_host": "127.0.0.1", "smtp_port": port, "smtp_starttls": False,
        "email_from": "runs@example.org", "email_to": "a@example.org, b@example.org",
    }  # fmt: skip
    return Settings.model_validate({**fields, **more})


def mailed(settings: Settings, message: Message = MESSAGE) -> str | None:
    return EmailNotifier(settings).send(message)


def slacked(settings: Settings) -> str | None:
    slack = SlackNotifier.of(settings, settings.slack_channel)
    assert slack is not None
    return slack.send(MESSAGE)


def test_nothing_is_sent_unless_configured() -> None:
    for bare in (Settings(), Settings(slack_token=SecretStr(TOKEN))):  # a token without a channel
        found = routes(default_people(bare), "failed", datetime.now(UTC), channels_of(bare))
        assert found == ()


def test_a_mail_reaches_every_address_with_its_text(post_office: tuple[Inbox, int]) -> None:
    inbox, port = post_office
    assert mailed(mail_settings(port)) is None
    (envelope,) = inbox.mails
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    mail = message_from_bytes(bytes(envelope.content or b""), policy=default)
    assert mail["Subject"] == MESSAGE.title
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert "ok 😟" in plain.get_content()
    assert "ok 😟" in page.get_content()


def test_a_title_cannot_add_headers_to_a_mail(post_office: tuple[Inbox, int]) -> None:
    inbox, port = post_office
    evil = Message(title="done\nBcc: thief@example.org")
    assert mailed(mail_settings(port), evil) is None
    assert inbox.mails[0].rcpt_tos == ["a@example.org", "b@example.org"]


def test_a_mail_server_that_is_away_becomes_one_line() -> None:
    assert mailed(mail_settings(free_port())) == "email: ConnectionRefusedError"


def test_a_password_is_in_no_error(post_office: tuple[Inbox, int]) -> None:
    """The server offers no login; a password that cannot be encoded must not be shown either."""
    _, port = post_office
    for password in (PASSWORD, f"{PASSWORD}-ü"):
        secret = mail_settings(port, smtp_user="u", smtp_password=SecretStr(password))
        problem = mailed(secret)
        assert problem is not None
        assert problem.startswith("email: ")
        assert PASSWORD not in problem


def test_a_login_is_used_where_the_server_offers_it() -> None:
    inbox, tried = Inbox(), []

    def check(*args: object) -> AuthResult:
        tried.append(args[-1])
        return AuthResult(success=True)

    controller = Controller(
        inbox, hostname="127.0.0.1", port=free_port(), authenticator=check,
        auth_require_tls=False,
    )  # fmt: skip
    controller.start()
    try:
        known = mail_settings(controller.port, smtp_user="u", smtp_password=SecretStr(PASSWORD))
        assert mailed(known) is None
    finally:
        controller.stop()
    assert len(tried) == 1
    assert len(inbox.mails) == 1


def test_starttls_is_never_silently_skipped(post_office: tuple[Inbox, int]) -> None:
    inbox, port = post_office
    strict = mail_settings(port, smtp_starttls=True)
    assert mailed(strict) == "email: SMTPNotSupportedError"
    assert inbox.mails == []


def certificate(folder: Path) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made, here = datetime.now(UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(made - timedelta(days=1))
        .not_valid_after(made + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([here]), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    place = folder / "server.pem"
    place.write_bytes(private + cert.public_bytes(Encoding.PEM))
    return place


def test_a_mail_goes_over_tls_to_a_server_that_proves_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes nothing before STARTTLS; a certificate that nobody knows ends the try."""
    place = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(place)
    inbox = Inbox()
    controller = Controller(
        inbox, hostname="127.0.0.1", port=free_port(), tls_context=tls, require_starttls=True
    )
    controller.start()
    try:
        known = mail_settings(controller.port, smtp_starttls=True)
        assert mailed(known) == "email: SSLCertVerificationError"
        assert inbox.mails == []
        plain = mail_settings(controller.port)
        assert mailed(plain) == "email: SMTPSenderRefused"
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        assert mailed(known) is None
    finally:
        controller.stop()
    assert len(inbox.mails) == 1


class FromTheFirstByte(Controller):
    """A server that speaks TLS before SMTP, as on port 465."""

    def __init__(self, inbox: Inbox, place: Path) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(place)
        super().__init__(inbox, hostname="127.0.0.1", port=free_port(), ssl_context=tls)


def test_a_mail_goes_to_a_server_that_speaks_tls_from_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, inbox = certificate(tmp_path), Inbox()
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    controller = FromTheFirstByte(inbox, place)
    controller.start()  # asks once whether the server answers
    try:
        known = mail_settings(controller.port, smtp_implicit_tls=True, smtp_starttls=True)
        assert mailed(known) is None
        assert EmailNotifier(known).reach() is None
        monkeypatch.setattr(notify, "IMPLICIT_TLS", controller.port)  # nobody may bind 465 here
        assert mailed(mail_settings(controller.port)) is None
        monkeypatch.delenv("SSL_CERT_FILE")
        assert mailed(known) == "email: SSLCertVerificationError"
    finally:
        controller.stop()
    assert len(inbox.mails) == 2


def test_a_password_goes_encrypted_where_one_of_both_ways_is_set() -> None:
    ways = ({"smtp_starttls": True}, {"smtp_implicit_tls": True}, {"smtp_port": 465}, {})
    found = [EmailNotifier(mail_settings(25).model_copy(update=way)).encrypted for way in ways]
    assert found == [True, True, True, False]


def test_slack_gets_one_message_with_title_and_text(fake_slack: FakeSlack) -> None:
    assert slacked(slack_settings(fake_slack.url)) is None
    ((path, token, fields),) = fake_slack.calls
    assert path == "/api/chat.postMessage"
    assert token == f"Bearer {TOKEN}"
    assert fields["channel"] == "#runs"
    assert fields["text"] == MESSAGE.title
    assert "Report: http://127.0.0.1/r" in str(fields["blocks"])


def test_slack_is_asked_again_after_the_time_that_it_names(fake_slack: FakeSlack) -> None:
    fake_slack.answers = [(429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"})]
    began = time.monotonic()
    assert slacked(slack_settings(fake_slack.url)) is None
    assert len(fake_slack.calls) == 2
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {}, {"ok": False, "error": "channel_not_found"}), "slack: channel_not_found"),
        ((500, {}, {"ok": False, "error": "fatal"}), "slack: fatal"),
        ((503, {"Content-Type": "text/html"}, {}), "slack: 503"),
    ],
)
def test_what_slack_refuses_becomes_one_line(
    fake_slack: FakeSlack, answer: tuple[int, dict[str, str], dict[str, object]], said: str
) -> None:
    fake_slack.answers = [answer] * 4
    assert slacked(slack_settings(fake_slack.url)) == said


def test_an_outage_of_one_channel_does_not_stop_the_other(
    home: Path, post_office: tuple[Inbox, int]
) -> None:
    inbox, port = post_office
    both = mail_settings(
        port, home=home, slack_token=SecretStr(TOKEN), slack_channel="#runs",
        slack_base_url=f"http://127.0.0.1:{free_port()}/api/",
    )  # fmt: skip
    (problem,) = post(Ledger.open(both), MESSAGE)
    assert problem.startswith("slack: ")
    assert TOKEN not in problem
    assert len(inbox.mails) == 1
