"""Who hears of what, where and when: one settings file, and the default without it.

people = load_people(settings)                  # $BRIGHTRUN_HOME/people.toml
routes(people, "failed", now) -> (Route(...), ...)

[[person]]
name = "Ann"
email = "ann@example.org"
slack = "U024BE7LH"            # a member's or a channel's id
quiet = "22:00-07:00"          # alarms about money come all the same
time_zone = "Europe/Berlin"
keeps_budget = true            # hears of approvals and money, whatever stands in events
events = { default = ["email"], failed = ["email", "slack"], started = [] }
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator

from brightrun import addresses
from brightrun.errors import ConfigurationError
from brightrun.frozen import Frozen
from brightrun.settings import Settings

Channel = Literal["slack", "email"]
Kind = Literal[
    "waiting", "started", "interrupted", "resumed", "stuck", "paused", "completed", "failed",
    "quality", "cost", "budget", "stop_failed", "approved", "night", "digest",
    "doctor",
]  # fmt: skip
# Whoever sleeps is woken for these.
MONEY: frozenset[str] = frozenset({"cost", "budget", "stop_failed"})
# Whoever keeps the budget cannot leave these out.
KEEPERS = MONEY | {"approved"}


class Quiet(Frozen):
    """Hours in which only alarms about money come; over midnight when start is after end."""

    start: time
    end: time

    @classmethod
    def of(cls, text: str) -> Quiet:
        """ "22:00-07:00"; ValueError."""
        start, dash, end = text.partition("-")
        if not dash:
            raise ValueError(f"{text!r} are no quiet hours: write them as 22:00-07:00")
        return cls(start=time.fromisoformat(start.strip()), end=time.fromisoformat(end.strip()))

    def ends(self, now: datetime) -> datetime | None:
        """When they end, None: they are not now. now: in the person's zone."""
        at = now.time()
        over_midnight = self.start > self.end
        inside = at >= self.start or at < self.end if over_midnight else self.start <= at < self.end
        if not inside:
            return None
        tomorrow = over_midnight and at >= self.start
        day = now.date() + timedelta(days=1 if tomorrow else 0)
        return datetime.combine(day, self.end, now.tzinfo)


def everything() -> dict[str, tuple[Channel, ...]]:
    """Who states nothing hears all, everywhere."""
    return {"default": ("email", "slack")}


class Person(Frozen):
    name: str = Field(min_length=1)
    email: str = ""
    slack: str = ""
    quiet: str = ""
    time_zone: str = "UTC"
    keeps_budget: bool = False
    events: dict[str, tuple[Channel, ...]] = Field(default_factory=everything)

    @field_validator("events")
    @classmethod
    def _known(cls, events: dict[str, tuple[Channel, ...]]) -> dict[str, tuple[Channel, ...]]:
        unknown = sorted(set(events) - {*get_args(Kind), "default"})
        if unknown:
            known = ", ".join(get_args(Kind))
            raise ValueError(f"no event {', '.join(unknown)}; there are default, {known}")
        return events

    @field_validator("email")
    @classmethod
    def _addresses(cls, email: str) -> str:
        return addresses.checked(email)

    @field_validator("quiet")
    @classmethod
    def _hours(cls, text: str) -> str:
        if text:
            Quiet.of(text)
        return text

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone, like Europe/Berlin or UTC") from None

    def address(self, channel: Channel) -> str:
        return self.slack if channel == "slack" else self.email

    def channels(self, kind: str) -> tuple[Channel, ...]:
        """Where this person hears of a kind; what has no line of its own follows `default`. Whoever
        keeps the budget hears of approvals and money everywhere rather than nowhere."""
        wanted = self.events.get(kind, self.events.get("default", ()))
        if not wanted and self.keeps_budget and kind in KEEPERS:
            return ("email", "slack")
        return wanted


class People(Frozen):
    person: tuple[Person, ...] = ()


class Route(Frozen):
    """One message's way to one address; due: not before."""

    channel: Literal["slack", "email", "webhook"]
    address: str
    due: datetime


def load_people(settings: Settings) -> tuple[Person, ...]:
    """The file's people; without one the configured channel and address hear everything.

    ConfigurationError: the file cannot be read, with the place.
    """
    place = settings.people or settings.home / "people.toml"
    if not place.is_file():
        if settings.people:
            raise ConfigurationError(f"{place} does not exist", fix="see docs/notifications.md")
        return default_people(settings)
    try:
        return People.model_validate(tomllib.loads(place.read_text("utf-8"))).person
    except (OSError, ValueError, ValidationError) as error:
        said = error if not isinstance(error, ValidationError) else "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
        )  # fmt: skip
        raise ConfigurationError(
            f"{place} cannot be used: {said}", fix="mend it: docs/notifications.md has an example"
        ) from None


def default_people(settings: Settings) -> tuple[Person, ...]:
    return (Person(name="everybody", email=settings.email_to, slack=settings.slack_channel),)


def routes(
    people: Sequence[Person],
    kind: str,
    now: datetime,
    only: Sequence[str] = ("slack", "email"),
    instead: Sequence[str] = (),
) -> tuple[Route, ...]:
    """Every address once; only: the channels that this message is for; instead: those for whoever
    cannot be reached on them."""
    found: dict[tuple[str, str], Route] = {}
    for person in people:
        mine = {channel: person.address(channel) for channel in person.channels(kind)}
        mine = {channel: address for channel, address in mine.items() if address}
        meant = [channel for channel in mine if channel in only]
        for channel in meant or [channel for channel in mine if channel in instead]:
            address = mine[channel]
            ends = Quiet.of(person.quiet).ends(now.astimezone(ZoneInfo(person.time_zone))) \
                if person.quiet and kind not in MONEY else None  # fmt: skip
            due = now if ends is None else ends.astimezone(UTC)
            route = Route(channel=channel, address=address, due=due)
            known = found.get((channel, address))
            if known is None or route.due < known.due:
                found[channel, address] = route
    return tuple(found.values())
