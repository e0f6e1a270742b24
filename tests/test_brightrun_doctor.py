"""What doctor finds, that it only looks, and that it prints no secret."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.mail import mail_server
from fakes.runpod.server import KEY
from fakes.slack import slack
from runpod_rentals import account

from brightrun import doctor, doctor_machine, doctor_services, findings
from brightrun.errors import ConfigurationError
from brightrun.findings import Finding
from brightrun.ledger import Ledger
from brightrun.ledger_schema import REVISION
from brightrun.settings import Settings, load
from evals.judge_names import HOMES
from flows import cli

BOT = "xoxb-secret-of-the-bot"


def states(found: Any) -> list[str]:
    return [finding.state for finding in found]


def of(**environ: str) -> Settings:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():
            patched.setenv(name, value)
        return load()


def test_a_mistyped_variable_is_told_with_the_one_that_was_meant(home: Path) -> None:
    settings, found = doctor_machine.settings_of({"BRIGHTRUN_MONTH_BUGDET_USD": "9"})
    assert settings is not None
    assert states(found) == ["warn"]
    assert found[0].said == "BRIGHTRUN_MONTH_BUGDET_USD is no setting and changes nothing"
    assert found[0].fix == "did you mean BRIGHTRUN_MONTH_BUDGET_USD?"


def test_a_value_that_cannot_be_is_named_and_not_repeated(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTRUN_UI_PORT", "rpa_a_key_in_the_wrong_place")
    monkeypatch.setenv("BRIGHTRUN_TIME_ZONE", "Mars/Olympus")
    found = doctor.diagnose(os.environ, {})
    assert states(found) == ["fail", "fail"]
    said = " ".join(finding.said for finding in found)
    assert "BRIGHTRUN_UI_PORT: Input should be a valid integer" in said
    assert "BRIGHTRUN_TIME_ZONE" in said
    assert "rpa_a_key" not in said


def test_pinned_against_installed() -> None:
    pins = doctor_machine.read_pins("# x\na-b==1.0\ntorch==2.13.0\nold==1\nextra==3\n")
    here = {"a-b": "1.0", "torch": "2.13.0+cpu", "old": "2"}
    missing, other = doctor_machine.compare(pins, ["A_b", "gone"], here)
    assert (missing, other) == (["gone"], ["old 2 instead of 1"])


def test_this_checkout_has_what_it_pins(home: Path) -> None:
    assert states(doctor_machine.packages(load())) == ["ok"]


def test_room_on_the_disk_is_judged_by_what_a_job_leaves_behind(tmp_path: Path) -> None:
    found = [doctor_machine.room(gb * 1e9, tmp_path) for gb in (1, 5, 20)]
    assert states(found) == ["fail", "warn", "ok"]
    assert all("brightrun clean" in finding.fix for finding in found[:2])


def test_looking_at_a_new_home_makes_nothing(home: Path) -> None:
    found = doctor.diagnose(os.environ, {})
    assert not home.exists()
    # How full this machine's disk is, is not for a test to say.
    assert "fail" not in states(finding for finding in found if finding.name != "disk")
    mend = {finding.name: finding.fix for finding in found if finding.state == "warn"}
    assert mend["ledger"].startswith("brightrun setup")
    assert mend["base model"].startswith("python -m trainer prepare demo")


def test_the_ledger_is_compared_with_this_checkouts_revision(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    Ledger.open(settings).close()

    def is_at(revision: str) -> Finding:
        with sqlite3.connect(tmp_path / "ledger.db") as opened:
            opened.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        (found,) = doctor_services.ledger(settings)
        return found

    assert is_at(REVISION).state == "ok"
    old, new = is_at("0001"), is_at("9999")
    assert (old.state, new.state) == ("fail", "fail")
    assert "revision 0001" in old.said
    assert old.fix.startswith("brightrun setup")
    assert new.fix.startswith("use the newer checkout")


def test_a_storage_that_is_used_is_left_as_it_was(tmp_path: Path) -> None:
    settings = Settings.model_validate({"STORAGE_URL": tmp_path.as_uri()})
    assert states(doctor_services.storage(settings)) == ["ok"]
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_is_away_is_told_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "a secret of the storage",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    settings = Settings.model_validate({"STORAGE_URL": "s3://runs/team"})
    (found,) = findings.examine({"storage": doctor_services.storage}, settings, [])
    assert found.state == "fail"
    assert found.said.startswith("cannot use s3://runs/team")
    assert found.fix


def runpod(fake: Any, key: str = KEY, **more: str) -> dict[str, str]:
    return {
        "RUNPOD_API_KEY": key, "BRIGHTRUN_RUNPOD_REST_URL": fake.url,
        "BRIGHTRUN_RUNPOD_GRAPHQL_URL": fake.graphql_url, **more,
    }  # fmt: skip


def test_an_account_at_runpod_is_read_and_nothing_is_rented() -> None:
    with account() as fake:
        found = {f.name: f for f in doctor_services.runpod(of(**runpod(fake)))}
        assert [method for method, path, _ in fake.requests if path != "/graphql"].count(
            "POST"
        ) == 0
    assert found["runpod"].state == "ok"
    assert "offers from $" in found["runpod"].said
    assert found["runpod credit"].state == "ok"
    assert found["runpod image"].state == "fail"
    assert "by digest" in found["runpod image"].said
    assert found["runpod volume"].state == "skip"


def test_a_wrong_key_is_one_failed_finding_with_the_variable() -> None:
    with account() as fake:
        settings = of(**runpod(fake, key="rpa_wrong"))
        (found,) = findings.examine({"runpod": doctor_services.runpod}, settings, ["rpa_wrong"])
    assert found.state == "fail"
    assert "BRIGHTRUN_RUNPOD_API_KEY is missing, wrong or expired" in found.said


def test_a_folder_of_this_machine_is_no_storage_for_rented_pods(home: Path) -> None:
    with account() as fake:
        found = tuple(doctor_services.pod_storage(of(**runpod(fake))))
    assert states(found) == ["fail"]
    assert "which a rented pod cannot see" in found[0].said


@pytest.fixture
def channels() -> Iterator[tuple[Any, Any, dict[str, str]]]:
    with slack() as chat, mail_server() as (inbox, mail):
        environ = {
            **mail, "BRIGHTRUN_SLACK_TOKEN": BOT, "BRIGHTRUN_SLACK_BASE_URL": chat.url,
            "BRIGHTRUN_SLACK_CHANNEL": "C1",
        }  # fmt: skip
        yield chat, inbox, environ


def test_channels_are_tried_without_a_message(home: Path, channels: Any) -> None:
    chat, inbox, environ = channels
    settings = of(**environ)
    assert states(doctor_services.slack(settings)) == ["ok"]
    assert states(doctor_services.email(settings)) == ["ok"]
    assert [path for path, _, _ in chat.calls] == ["/api/auth.test"]
    assert inbox.mails == []


def test_who_asks_for_it_gets_one_message_on_each_channel(home: Path, channels: Any) -> None:
    chat, inbox, environ = channels
    found = tuple(doctor_services.deliveries(of(**environ)))
    assert [(f.name, f.state) for f in found] == [("slack message", "ok"), ("email message", "ok")]
    assert [fields["channel"] for _, _, fields in chat.calls] == ["C1"]
    assert (len(inbox.mails), inbox.to) == (1, ["ann@example.org"])


def test_a_token_that_may_not_write_is_told(home: Path, channels: Any) -> None:
    chat, _, environ = channels
    chat.answers = [
        (200, {}, {"ok": False, "error": "invalid_auth"}),
        (200, {"X-OAuth-Scopes": "channels:read,users:read"}, {"ok": True}),
        (200, {"X-OAuth-Scopes": "channels:read,chat:write"}, {"ok": True}),
    ]
    found = [next(doctor_services.slack(of(**environ))) for _ in range(3)]
    assert states(found) == ["fail", "fail", "ok"]
    assert ["invalid_auth" in found[0].said, "chat:write" in found[1].said] == [True, True]


def test_a_mail_server_that_is_away_is_told_with_its_variables() -> None:
    settings = of(
        BRIGHTRUN_SMTP_HOST="127.0.0.1", BRIGHTRUN_SMTP_PORT="9", BRIGHTRUN_EMAIL_FROM="a@b.example"
    )
    (found,) = doctor_services.email(settings)
    assert found.state == "fail"
    assert found.said == "email: ConnectionRefusedError at 127.0.0.1:9"
    assert "BRIGHTRUN_SMTP_HOST" in found.fix


def test_what_a_check_raises_is_a_finding_and_hides_no_other(home: Path) -> None:
    def raises(settings: Settings) -> Iterator[Finding]:
        yield Finding(name="a", state="ok", said="seen")
        raise ConfigurationError("no pw-1234-secret", cause="why", fix="use pw-1234-secret rightly")

    checks = {"a": raises, "b": lambda settings: [Finding(name="b", state="ok", said="fine")]}
    found = findings.examine(checks, load(), ["pw-1234-secret"])
    assert [(f.name, f.state) for f in found] == [("a", "ok"), ("a", "fail"), ("b", "ok")]
    assert found[1].said == "no ********** (why)"
    assert found[1].fix == "use ********** rightly"


def test_every_secret_of_an_environment_is_known() -> None:
    environ = {
        "brightrun_smtp_password": "p1", "DATABASE_URL": "postgresql://u:p%40ss@h/d",
        "STORAGE_URL": "s3://b", "AWS_SECRET_ACCESS_KEY": "aws-secret-1", "SOME_TOKEN": "true",
        "PROXY": "http://me:proxy-pw@proxy:1", "BRIGHTRUN_HOME": "/x",
    }  # fmt: skip
    assert set(findings.hidden(environ)) == {
        "p1", "postgresql://u:p%40ss@h/d", "postgresql://u:p@ss@h/d", "p%40ss", "p@ss",
        "aws-secret-1", "proxy-pw",
    }  # fmt: skip


def planted(chat: Any, fake: Any, mail: Mapping[str, str]) -> dict[str, str]:
    """A secret in every secret setting, and in what else holds one."""
    own = {name: f"planted-{name.lower()}" for name, secret in findings.names().items() if secret}
    del own["BRIGHTRUN_DATABASE_URL"]
    # Both channels' own keys as their fakes echo them.
    return {
        **own, **mail, **runpod(fake, key="planted-runpod-key"),
        "BRIGHTRUN_RUNPOD_API_KEY": "planted-runpod-key",
        "DATABASE_URL": "postgresql://ann:planted-p%40ss@127.0.0.1:9/ledger",
        "BRIGHTRUN_SLACK_BASE_URL": chat.url, "BRIGHTRUN_SLACK_CHANNEL": "C1",
        "STORAGE_URL": "s3://runs", "AWS_ENDPOINT_URL": "http://u:planted-proxy@127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "planted-aws-id", "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
        "BRIGHTRUN_POD_STORAGE_ENDPOINT": "http://127.0.0.1:9", "BRIGHTRUN_SMTP_USER": "ann",
        "BRIGHTRUN_SMPT_PASSWORD": "planted-in-a-mistyped-name",
        "BRIGHTRUN_WEBHOOK_URL": "http://u:planted-hook@127.0.0.1:9/hook",
    }  # fmt: skip


@pytest.mark.parametrize(
    "command", [("doctor", "--send"), ("doctor", "--json"), ("setup", "--dry-run")]
)
def test_no_secret_is_printed(
    command: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Everything fails, and the services repeat in their answers what they were sent."""
    with slack() as chat, mail_server() as (_, mail), account() as fake:
        for name, value in planted(chat, fake, mail).items():
            monkeypatch.setenv(name, value)
        for vendor in HOMES:
            monkeypatch.setitem(HOMES, vendor, "http://127.0.0.1:9")
        told = {"ok": False, "error": "bad planted-brightrun_slack_token"}
        chat.answers = [(200, {}, told)] * 9
        monkeypatch.setattr(sys, "argv", ["brightrun", *command])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    out, err = capfd.readouterr()
    assert ended.value.code == 1
    assert "planted" not in out + err
    assert "p@ss" not in out + err
    assert (findings.HIDDEN in out) == ("doctor" in command)  # the bot's token came back
    if "--json" in command:
        assert json.loads(out)["healthy"] is False
