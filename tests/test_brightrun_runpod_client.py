"""The HTTP client against the fake: what is repeated, what is waited for, what is told."""

from __future__ import annotations

import logging

import pytest
from fakes.clock import ManualClock
from fakes.runpod import Mischief
from pydantic import SecretStr
from runpod_rentals import account, client

from brightrun.compute.provider import Refused
from brightrun.compute.runpod import problems
from brightrun.compute.runpod.client import Client, pause_before_again
from brightrun.compute.runpod.problems import Away, BalanceEmpty, Denied, NotThere, RateLimited

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
BODY = {"name": "br-x", "image": "i", "gpu": {"id": "NVIDIA H100 PCIe", "count": 1}}


def asked(fake: object, method: str) -> int:
    return sum(m == method for m, _, _ in fake.requests)  # type: ignore[attr-defined]


def test_a_read_is_repeated_with_growing_pauses_and_jitter() -> None:
    clock = ManualClock()
    mischief = Mischief({"read": ["read_500", "read_html", "read_500"]})
    with account(clock, mischief=mischief) as fake:
        assert client(fake).get("/v2/pods") == {"pods": []}
        assert asked(fake, "GET") == 4
    assert len(clock.sleeps) == 3
    assert all(0 < pause < limit for pause, limit in zip(clock.sleeps, (1, 2, 4), strict=True))


def test_a_read_that_fails_for_good_says_what_came_and_which_request_it_was() -> None:
    with account(mischief=Mischief({"read": ["read_html"] * 9})) as fake:
        with pytest.raises(Away, match=r"502 not JSON: 502 Bad Gateway cloudflare \(request \w+\)"):
            client(fake).get("/v2/pods")
        assert asked(fake, "GET") == 4


@pytest.mark.parametrize("kind", ["create_500", "create_html", "create_dropped", "create_timeout"])
def test_a_doubtful_create_is_never_sent_twice(kind: str) -> None:
    with account(mischief=Mischief({"create": [kind]}), hold_s=0.5) as fake:
        with pytest.raises(Away):
            client(fake, create_seconds=0.1).create("/v2/pods", BODY)
        assert asked(fake, "POST") == 1
        assert fake.account.alive() == ["br-x"]


def test_a_create_waits_as_long_as_the_rate_limit_says_and_comes_again() -> None:
    clock = ManualClock()
    with account(clock, mischief=Mischief({"create": ["rate_limit"]}), retry_after_s=12) as fake:
        assert client(fake).create("/v2/pods", BODY)["name"] == "br-x"
        assert asked(fake, "POST") == 2
    assert 12 <= sum(clock.sleeps) < 26


def test_a_used_up_quota_is_waited_for_before_the_next_request() -> None:
    clock = ManualClock()
    with account(clock, mischief=Mischief({"read": ["rate_limit"]}), retry_after_s=7) as fake:
        api = client(fake)
        api.get("/v2/pods")
        assert api.free_at <= clock.monotonic()
        api.free_at = clock.monotonic() + 30
        api.get("/v2/pods")
        assert clock.sleeps[-1] == pytest.approx(30)
        api.free_at = clock.monotonic() + 45_012
        with pytest.raises(RateLimited, match="45012 s"):
            api.get("/v2/pods")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("capacity", Refused), ("forbidden", Refused), ("balance", BalanceEmpty)],
)
def test_a_definite_no_is_one_request(kind: str, error: type[Exception]) -> None:
    with account(mischief=Mischief({"create": [kind]})) as fake:
        with pytest.raises(error):
            client(fake).create("/v2/pods", BODY)
        assert asked(fake, "POST") == 1
        assert fake.account.alive() == []


@pytest.mark.parametrize("status", [400, 402, 403])
def test_only_a_create_can_be_refused(status: int) -> None:
    """The same number about a pod that is there must not read as "nothing is rented"."""
    said = '{"title": "No", "detail": "you may not"}'
    look = problems.failure("GET /v2/pods", status, {}, said)
    assert isinstance(look, Denied)
    create = problems.failure("POST /v2/pods", status, {}, said, creates=True)
    assert isinstance(create, Refused | BalanceEmpty)


def test_an_unknown_pod_a_wrong_key_and_nobody_there_are_told_apart() -> None:
    with account() as fake:
        with pytest.raises(NotThere, match="pod not found"):
            client(fake).delete("/v2/pods/none")
        with pytest.raises(Denied, match="RUNPOD_API_KEY"):
            Client(fake.url, SecretStr("wrong"), clock=fake.clock).get("/v2/pods")
    with pytest.raises(Away, match="ConnectError"):
        client(fake).get("/v2/pods")


def test_no_log_and_no_error_holds_the_key_or_a_pods_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = '{"title": "Bad Request", "status": 400, "detail": "env S=hunter2-secret is odd"}'
    error = problems.failure("POST /v2/pods", 400, {}, echo, ["hunter2-secret"])
    assert "hunter2" not in str(error)
    with account(mischief=Mischief({"create": ["create_500"]})) as fake:
        body = {**BODY, "env": {"S": "hunter2-secret"}}
        with pytest.raises(Away):
            client(fake).create("/v2/pods", body, ["hunter2-secret"])
    assert "hunter2" not in caplog.text
    assert "rpa_fake" not in caplog.text


def test_what_a_pause_depends_on() -> None:
    away, limited = Away("x"), RateLimited("x", 12.0)
    assert pause_before_again(True, away, 1, 3, 0.5) == 0.5
    assert pause_before_again(True, away, 3, 1, 0.5) == 2.0
    assert pause_before_again(False, away, 1, 3, 0.5) is None
    assert pause_before_again(False, limited, 1, 3, 0.5) == 12.5
    assert pause_before_again(True, away, 4, 0, 0.5) is None
    assert pause_before_again(True, RateLimited("x", 3600.0), 1, 3, 0.5) is None


def test_how_long_a_429_asks_to_wait() -> None:
    windows = '"minute";r=0;t=12, "hour";r=0;t=1812, "day";r=9;t=45012'
    assert problems.wait_of({"retry-after": "3", "ratelimit": windows}) == 3
    assert problems.wait_of({"ratelimit": windows}) == 1812
    assert problems.wait_of({}) == 5
    assert problems.used_up({"ratelimit": '"minute";r=1;t=12'}) == 0


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [HTML, "", "[]", "null", '"x"', '{"errors": 5}'])
def test_any_body_is_survived(status: int, body: str) -> None:
    error = problems.failure("GET /v2/pods", status, {"x-request-id": "abc"}, body)
    assert f"{status}" in str(error)
    assert "(request abc)" in str(error)
    assert "<" not in str(error)
