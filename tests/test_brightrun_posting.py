"""Messages to people: routes, quiet hours, threads, retries, the signed webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from commands import inside
from fakes.mail import Inbox, mail_server
from fakes.slack import FakeSlack, slack
from fakes.webhook import application

from brightrun import digest, news, posting
from brightrun.errors import ConfigurationError
from brightrun.jobs import JobRequest
from brightrun.ledger import AttemptRow, JobRow, Ledger, Status
from brightrun.ledger_outbox import Letter
from brightrun.notify import Message
from brightrun.outcomes import NEVER_STARTED
from brightrun.people import Kind, Person, Quiet, Route, load_people, routes
from brightrun.posting import deliver_due, post
from brightrun.settings import CHECKOUT, load
from brightrun.verdicts import EvidenceKind, MetricName, Verdict

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LAST = timedelta(days=5)  # of the sixth try, when there is one a day
PEOPLE = """
[[person]]
name = "Ann"
email = "ann@example.org"
slack = "U1"
quiet = "22:00-07:00"
time_zone = "Europe/Berlin"
events = { default = ["email"], failed = ["email", "slack"], started = [] }

[[person]]
name = "Ben"
slack = "C9"
events = { default = [], budget = ["slack"], failed = ["slack"] }
"""


def message(kind: str = "failed", job: str = "j1") -> Message:
    links = (("Report", "https://example.org/r?a=1&b=2"),)
    title = f"Bright Run job {job} {kind}"
    return Message(title=title, lines=("a <b> line",), kind=kind, job_id=job, links=links)


@pytest.fixture
def channels(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Inbox, FakeSlack]]:
    with mail_server() as (inbox, environment), slack() as chat:
        mine = {"BRIGHTRUN_SLACK_TOKEN": "xoxb-1", "BRIGHTRUN_SLACK_BASE_URL": chat.url}
        for name, value in {**environment, **mine}.items():
            monkeypatch.setenv(name, value)
        home.mkdir()
        (home / "people.toml").write_text(PEOPLE)
        yield inbox, chat


def test_each_person_hears_what_they_want_where_they_want_it(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, chat = channels
    ledger = Ledger.open(load())
    assert post(ledger, message("failed"), now=NOW) == []
    assert inbox.to == ["ann@example.org"]
    assert [fields["channel"] for _, _, fields in chat.calls] == ["U1", "C9"]
    post(ledger, message("started"), now=NOW)
    assert (len(inbox.mails), len(chat.calls)) == (1, 2)
    assert "a &lt;b&gt; line" in inbox.pages[0]
    assert 'href="https://example.org/r?a=1&amp;b=2"' in inbox.pages[0]
    assert "Report: https://example.org/r?a=1&b=2" in inbox.mails[0]


def test_what_goes_by_mail_reaches_whoever_has_no_mail_on_slack(
    channels: tuple[Inbox, FakeSlack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 % of a limit goes by mail; where there is none, it is not told to nobody."""
    inbox, chat = channels
    post(Ledger.open(load()), message("budget"), only=("email",), now=NOW)
    assert inbox.to == ["ann@example.org"]
    assert [fields["channel"] for _, _, fields in chat.calls] == ["C9"]  # Ben has no mail
    monkeypatch.setenv("BRIGHTRUN_SMTP_HOST", "")
    post(Ledger.open(load()), message("cost"), only=("email",), now=NOW)
    assert len(inbox.to) == 1
    assert len(chat.calls) == 1  # Ann wants it by mail only, Ben not at all
    post(Ledger.open(load()), message("failed"), only=("email",), now=NOW)
    assert [fields["channel"] for _, _, fields in chat.calls] == ["C9", "U1", "C9"]


def test_a_job_has_one_thread_and_the_same_news_is_told_once(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, chat = channels
    ledger = Ledger.open(load())
    for _ in range(2):
        post(ledger, message("failed"), "failed:j1", now=NOW)
    post(ledger, message("failed"), "failed again:j1", now=NOW)
    threads = [fields.get("thread_ts") for _, _, fields in chat.calls]
    assert threads == [None, None, "1.2", "1.2"]  # the first of each channel, then its answers
    assert len(inbox.mails) == 2
    buttons = chat.calls[0][2]["blocks"][-1]
    assert buttons["elements"][0]["url"] == "https://example.org/r?a=1&b=2"


def test_quiet_hours_hold_everything_but_alarms_about_money(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    inbox, _ = channels
    ledger = Ledger.open(load())
    night = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # 00:30 in Berlin
    post(ledger, message("completed"), now=night)
    post(ledger, message("budget"), now=night)
    assert [mail.split("\n")[0] for mail in inbox.mails] == ["Bright Run job j1 budget"]
    deliver_due(ledger, datetime(2026, 11, 24, 5, 59, tzinfo=UTC))
    assert len(inbox.mails) == 1
    deliver_due(ledger, datetime(2026, 11, 24, 6, 0, tzinfo=UTC))  # 07:00 in Berlin
    assert len(inbox.mails) == 2


def test_an_outage_is_tried_again_and_told_once(channels: tuple[Inbox, FakeSlack]) -> None:
    inbox, chat = channels
    ledger = Ledger.open(load())
    chat.answers += [(500, {}, {"ok": False}), (500, {}, {"ok": False})]
    problems = post(ledger, message("failed"), "k", now=NOW)
    assert problems == ["slack: 500"] * 2
    assert len(inbox.mails) == 1
    assert len(ledger.undelivered(NOW)) == 2
    assert deliver_due(ledger, NOW + timedelta(seconds=30)) == []  # not yet
    assert deliver_due(ledger, NOW + timedelta(minutes=2)) == []
    assert ledger.undelivered(NOW) == ()
    assert (len(inbox.mails), len(chat.calls)) == (1, 4)


def test_after_an_hour_without_slack_and_mail_everybody_has_heard_once(
    channels: tuple[Inbox, FakeSlack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reaper's flow delivers every five minutes; pauses between tries grow."""
    inbox, chat = channels
    there, back = load(), NOW + timedelta(hours=1)
    with monkeypatch.context() as away:
        away.setenv("BRIGHTRUN_SMTP_PORT", "9")
        chat.answers += [(500, {}, {"ok": False})] * 100
        ledger = Ledger.open(load())
        assert len(post(ledger, message("failed"), "k", now=NOW)) == 3
        for minutes in range(5, 60, 5):
            deliver_due(ledger, NOW + timedelta(minutes=minutes))
    assert (inbox.mails, len(ledger.undelivered(NOW))) == ([], 3)
    chat.answers.clear()
    chat.calls.clear()
    ledger = Ledger.open(there)
    tries = [back + timedelta(minutes=minutes) for minutes in range(0, 125, 5)]
    assert [problem for at in tries for problem in deliver_due(ledger, at)] == []
    assert (len(inbox.mails), len(chat.calls), ledger.undelivered(NOW)) == (1, 2, ())


def taken(ledger: Ledger, now: datetime) -> list[Letter]:
    return list(iter(lambda: ledger.take_due(now), None))


def test_letters_that_were_tried_already_come_behind_those_that_were_not(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    """A dead channel costs its time-out for each letter: no other waits for its repeats."""
    ledger, first = Ledger.open(load()), NOW
    for number in range(4):
        route = Route(channel="email", address="ann@example.org", due=NOW)
        ledger.put_out(f"k{number}", message().model_dump(), [route], job_id="j1", at=NOW)
    for minutes in (0, 1):
        letter = ledger.take_due(first + timedelta(minutes=minutes))
        assert letter is not None
        ledger.not_delivered(letter, "email: TimeoutError", first + timedelta(minutes=minutes))
    assert [letter.key for letter in taken(ledger, NOW + timedelta(minutes=9))] == [
        "k2", "k3", "k0", "k1",
    ]  # fmt: skip


def test_a_letter_that_is_being_sent_is_given_to_nobody_else(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    ledger = Ledger.open(load())
    found = routes(load_people(load()), "failed", NOW)
    ledger.put_out("k", message().model_dump(), found, job_id="j1", at=NOW)
    assert len(taken(ledger, NOW)) == 3
    assert taken(ledger, NOW) == []
    assert len(taken(ledger, NOW + timedelta(minutes=6))) == 3  # its sender died


@pytest.mark.parametrize(
    ("line", "told", "posted"),
    [
        ('quiet = "late"', r"person\.0\.quiet: .*no quiet hours", "cannot be used"),
        ('email = "ann@"', r"person\.0\.email: .*'ann@' is no address", "is no address"),
    ],
)
def test_a_broken_file_of_people_is_told_with_its_place_and_silences_no_alarm(
    channels: tuple[Inbox, FakeSlack], home: Path, line: str, told: str, posted: str
) -> None:
    inbox, _ = channels
    (home / "people.toml").write_text(f'[[person]]\nname = "Ann"\n{line}\n')
    with pytest.raises(ConfigurationError, match=told):
        load_people(load())
    (problem,) = post(Ledger.open(load()), message("budget"), now=NOW)
    assert posted in problem
    assert inbox.to == ["ann@example.org"]  # the configured address


def test_a_letter_that_cannot_be_sent_holds_up_none_behind_it(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    """One that an older version wrote down: its address is none, or its message cannot be read."""
    inbox, _ = channels
    ledger = Ledger.open(load())
    typo = Route(channel="email", address="ann@", due=NOW)
    ledger.put_out("typo", message().model_dump(), [typo], job_id="j1", at=NOW)
    ledger.put_out("old", {"text": "x"}, [typo], job_id="j1", at=NOW)
    good = Route(channel="email", address="ann@example.org", due=NOW)
    ledger.put_out("good", message().model_dump(), [good], job_id="j1", at=NOW)
    assert len(deliver_due(ledger, NOW)) == 2
    assert len(inbox.mails) == 1
    assert [letter.tries for letter, _ in ledger.undelivered(NOW)] == [1, 1]


def test_a_sender_holds_one_letter_at_a_time_and_each_is_sent_once(
    channels: tuple[Inbox, FakeSlack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow a server is: the others are nobody's, and no pass takes longer than its time."""
    inbox, _ = channels
    ledger = Ledger.open(load())
    route = Route(channel="email", address="ann@example.org", due=NOW)
    for number in range(4):
        ledger.put_out(f"k{number}", message().model_dump(), [route], job_id="j1", at=NOW)
    assert ledger.take_due(NOW) is not None  # by a sender that died with it
    with monkeypatch.context() as slow:
        slow.setattr(posting, "SENDING", timedelta(0))
        assert deliver_due(ledger, NOW) == []
        assert inbox.mails == []
    assert deliver_due(ledger, NOW) == []
    assert len(inbox.mails) == 3
    assert deliver_due(ledger, NOW + timedelta(minutes=6)) == []
    assert len(inbox.mails) == 4


def test_a_letter_that_is_given_up_is_counted_on_its_day_only(
    channels: tuple[Inbox, FakeSlack],
) -> None:
    _, chat = channels
    ledger, at = Ledger.open(load()), NOW
    route = Route(channel="slack", address="C9", due=NOW)
    ledger.put_out("k", message().model_dump(), [route], job_id="j1", at=NOW)
    chat.answers += [(500, {}, {"ok": False})] * 7
    while deliver_due(ledger, at):
        assert digest.digest(ledger, at + timedelta(days=1))["undelivered"] == int(at > NOW + LAST)
        at += timedelta(days=1)
    assert len(chat.calls) == 7
    assert digest.digest(ledger, at)["undelivered"] == 1
    assert digest.digest(ledger, at + timedelta(days=1))["undelivered"] == 0
    lost = at - timedelta(days=1)
    assert [letter.given_up for letter, _ in ledger.undelivered(lost)] == [True]
    assert ledger.undelivered(lost + timedelta(seconds=1)) == ()


def test_people_shows_what_is_still_tried_and_only_counts_what_was_given_up_long_ago(
    channels: tuple[Inbox, FakeSlack], home: Path
) -> None:
    _, chat = channels
    ledger, now = Ledger.open(load()), datetime.now(UTC)
    for key, days in (("old", 30), ("new", 3)):
        at = now - timedelta(days=days)
        route = Route(channel="slack", address="C9", due=at)
        ledger.put_out(key, message(key).model_dump(), [route], job_id="j1", at=at)
        chat.answers += [(500, {}, {"ok": False})] * 7
        while deliver_due(ledger, at, key):
            at += timedelta(hours=13)
    found = inside(home, "people", "--json").json
    said = [(letter["title"], letter["given_up"]) for letter in found["undelivered"]]
    assert (said, found["given_up_earlier"]) == ([("Bright Run job j1 new", True)], 1)
    assert "Given up more than 7 days ago: 1 message" in inside(home, "people").out


@pytest.mark.parametrize(
    ("at", "ends"),
    [("21:59", None), ("22:00", "24 07:00"), ("06:59", "23 07:00"), ("07:00", None)],
)
def test_quiet_hours_go_over_midnight(at: str, ends: str | None) -> None:
    now = datetime.fromisoformat(f"2026-11-23T{at}+01:00")
    found = Quiet.of("22:00-07:00").ends(now)
    assert (None if found is None else f"{found:%d %H:%M}") == ends


def test_the_webhook_is_signed_follows_its_schema_and_is_sent_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with application() as app:
        monkeypatch.setenv("BRIGHTRUN_WEBHOOK_URL", app.url)
        monkeypatch.setenv("BRIGHTRUN_WEBHOOK_SECRET", "planted-secret")
        ledger = Ledger.open(load())
        ledger.create_job("j1", JobRequest(training_file="f", client="Acme"))
        ledger.update_job("j1", status=Status.failed, error={"code": "out_of_memory"})
        app.answers.append(503)
        assert post(ledger, message(), "k", now=NOW) == ["webhook: HTTP 503"]
        assert deliver_due(ledger, NOW + timedelta(minutes=2)) == []
        (first, _), (sign, body) = app.calls
        seconds, hexed = sign.removeprefix("t=").split(",v1=")
        signed = hmac.new(b"planted-secret", f"{seconds}.".encode() + body, hashlib.sha256)
        assert hexed == signed.hexdigest()
        assert first != sign  # signed anew with the time of sending
        assert app.events[0] == app.events[1]
        schema = json.loads((CHECKOUT / "deployments/schemas/event-1.json").read_text())
        jsonschema.validate(app.events[0], schema)
        assert app.events[0]["kind"] == "failed"
        facts = app.events[0]["facts"]
        assert (facts["status"], facts["client"], facts["error"], facts["cost_usd"]) == (
            "failed", "Acme", "out_of_memory", 0.0,
        )  # fmt: skip
        assert set(facts) == set(schema["properties"]["facts"]["properties"])
        assert schema["properties"]["kind"]["enum"] == list(get_args(Kind))
    assert post(ledger, message(), "gone", now=NOW) == ["webhook: ConnectError"]


def test_an_application_that_was_away_for_an_hour_hears_each_event_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with application() as app:
        monkeypatch.setenv("BRIGHTRUN_WEBHOOK_URL", app.url)
        monkeypatch.setenv("BRIGHTRUN_WEBHOOK_SECRET", "planted-secret")
        app.answers += [503] * 100
        ledger = Ledger.open(load())
        for minutes in range(0, 60, 5):
            if minutes in (0, 30):
                assert post(ledger, message(), f"k{minutes}", now=NOW + timedelta(minutes=minutes))
            deliver_due(ledger, NOW + timedelta(minutes=minutes))
        assert len(app.calls) > 2
        app.answers.clear()
        app.calls.clear()
        tries = [NOW + timedelta(minutes=minutes) for minutes in range(60, 190, 5)]
        assert [problem for at in tries for problem in deliver_due(ledger, at)] == []
        assert len(app.calls) == len({event["id"] for event in app.events}) == 2
    assert ledger.undelivered(NOW) == ()


def test_nothing_is_sent_to_a_webhook_without_a_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with application() as app:
        monkeypatch.setenv("BRIGHTRUN_WEBHOOK_URL", app.url)
        for secret in (None, ""):
            if secret is not None:
                monkeypatch.setenv("BRIGHTRUN_WEBHOOK_SECRET", secret)
            (problem,) = post(Ledger.open(load()), message(), f"k{secret}", now=NOW)
            assert problem == "webhook: BRIGHTRUN_WEBHOOK_SECRET is not set"
        assert app.calls == []


def pod(number: int, outcome: str, *, ended: int | None, started: int | None = 1) -> AttemptRow:
    def at(minute: int | None) -> datetime | None:
        return None if minute is None else NOW + timedelta(minutes=minute)

    return AttemptRow(
        "j1", number, "local", "spot", f"p{number}", "", "", "", Decimal(1), NOW, at(started),
        at(ended), outcome, 7, 5, None,
    )  # fmt: skip


def test_interruption_its_end_and_a_stuck_pod_are_news(home: Path) -> None:
    ledger = Ledger.open(load())
    ledger.create_job("j1", JobRequest(training_file="f"))
    row: JobRow = ledger.update_job("j1", status=Status.running)
    pods = (pod(1, "lost", ended=10), pod(2, "", ended=None, started=14))
    half_hour = timedelta(minutes=30)

    def kinds(minute: int, moved: int | None = None) -> list[str]:
        last = None if moved is None else NOW + timedelta(minutes=moved)
        now = NOW + timedelta(minutes=minute)
        return [item.kind for item in news.news(row, pods, last, half_hour, now)]

    assert kinds(20) == ["interrupted", "resumed"]
    assert kinds(45) == ["interrupted", "resumed", "stuck"]
    assert kinds(45, moved=20) == ["interrupted", "resumed"]
    (_, on) = news.news(row, pods, None, half_hour, NOW)
    assert on.lines == ("From step 5, 4 min later",)
    missed = pod(2, f"lost:{NEVER_STARTED}", ended=12, started=None)
    pods = (pod(1, "lost", ended=10), missed, pod(3, "", ended=None, started=14))
    assert kinds(20) == ["interrupted", "resumed"]
    assert news.news(row, pods, None, half_hour, NOW)[1].key == "resumed:j1:3"


@pytest.mark.parametrize("after", [(), (pod(2, "", ended=None),)])
def test_another_pod_is_told_of_once_it_is_rented(home: Path, after: tuple[AttemptRow]) -> None:
    """A lost pod may have been the last one, of a job that was cancelled or has failed."""
    ledger = Ledger.open(load())
    row = ledger.create_job("j1", JobRequest(training_file="f"))
    pods = (pod(1, "lost", ended=10, started=None), *after)
    lost = news.news(row, pods, None, timedelta(minutes=30), NOW)[0]
    assert ("another one is rented" in lost.lines[0]) == bool(after)


def test_a_claim_below_target_brings_the_retry_that_would_mend_it() -> None:
    verdict = Verdict(
        metric=MetricName.knowledge_retention, evidence=EvidenceKind.measurement, n=9,
        n_clusters=9, estimate=0.8, target_met="fail",
    )  # fmt: skip
    lines = news.below_target("j1", {"learning_rate": 2e-4, "epochs": 3}, (verdict,))
    assert lines[0] == "knowledge retention: below target (80.0%)"  # kept, and nothing gained
    assert "learning_rate: 0.0002 -> 0.0001" in lines[1]
    assert lines[-1] == "Train again: brightrun retry j1 --set learning_rate=0.0001"
    passed = verdict.model_copy(update={"target_met": "pass"})
    assert news.below_target("j1", {}, (passed,)) == ()
    later = verdict.model_copy(update={"exploratory": True})  # no promise was missed
    assert news.below_target("j1", {"learning_rate": 2e-4, "epochs": 3}, (later,)) == ()
    dull = verdict.model_copy(update={"metric": MetricName.perplexity, "estimate": -0.1})
    assert "Suggested: epochs: 19 -> 20" in news.below_target("j1", {"epochs": 19}, (dull,))[1]
    longest = news.below_target("j1", {"epochs": 20}, (dull,))  # and 21 cannot be set
    assert longest == ("perplexity: below target (-10.0%)",)


def test_yesterday_is_a_day_of_its_zone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = load().model_copy(update={"time_zone": "Europe/Berlin"}).zone
    first, after = digest.day_before(datetime(2026, 10, 26, 6, tzinfo=UTC), zone)
    assert after.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=25)
    first, after = digest.day_before(datetime(2026, 3, 30, 5, tzinfo=UTC), zone)
    assert after.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=23)


def test_the_digest_tells_what_ended_and_what_waits(
    channels: tuple[Inbox, FakeSlack], home: Path
) -> None:
    inbox, _ = channels
    ledger = Ledger.open(load())
    for name, status in (("a", Status.completed), ("b", Status.awaiting_approval)):
        ledger.create_job(name, JobRequest(training_file="f", name="Spring"))
        ledger.update_job(name, status=status)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    ledger.update_job("a", finished_at=yesterday)
    assert inside(home, "digest").code == 0
    said = digest.message(digest.digest(ledger, datetime.now(UTC)))
    assert said.title.endswith("1 job ended, $0.00")
    assert said.lines[:2] == (
        "Ended: a Spring: completed, $0.0000",
        "Waiting: b Spring: awaiting_approval, $0.0000",
    )
    for _ in range(2):
        post(ledger, said, "digest:1", now=NOW)
    assert len(inbox.mails) == 1


def test_who_hears_of_what_is_a_table(channels: tuple[Inbox, FakeSlack], home: Path) -> None:
    found = inside(home, "people", "--json").json
    assert [person["name"] for person in found["people"]] == ["Ann", "Ben"]
    assert Person(name="x").channels("failed") == ("email", "slack")
    assert "Nobody hears of approvals" not in inside(home, "people").err
    nobody = PEOPLE.replace('default = ["email"], ', "")
    (home / "people.toml").write_text(nobody)
    assert "Nobody hears of approvals" in inside(home, "people").err


def test_whoever_keeps_the_budget_cannot_leave_out_approvals_and_money() -> None:
    keeper = Person(name="x", keeps_budget=True, events={"default": (), "cost": ("slack",)})
    assert keeper.channels("approved") == ("email", "slack")
    assert keeper.channels("cost") == ("slack",)
    assert keeper.channels("started") == ()
