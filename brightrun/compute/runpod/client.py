"""The thin client of RunPod's HTTP: time-outs, quotas, and retries only where a repeat is harmless.

What only reads, and DELETE, is repeated after any doubtful answer. A create is repeated only after
429, which says that nothing was done: RunPod knows no idempotency key, a repeat may rent twice.
"""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from brightrun.clock import Clock, SystemClock
from brightrun.compute.runpod.problems import (
    REQUEST_ID,
    Away,
    RateLimited,
    failure,
    request_id,
    told,
    used_up,
)
from brightrun.errors import ProviderError

Found = TypeVar("Found")
log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
HASTY_SECONDS = 8.0
# A create answers late when it looks for a machine; a time-out leaves a doubt behind.
CREATE_SECONDS = 90.0
TRIES = 4
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
# Longer quotas (the hour's, the day's) are told instead of waited for.
LONGEST_WAIT = 90.0
# Lists are known to lag 30 s behind a create; three times that is patience enough.
SETTLE_PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0, 30.0)


@cache
def trust() -> ssl.SSLContext:
    """The certificates that are trusted, read once."""
    return httpx.create_ssl_context()


def settled(clock: Clock, look: Callable[[], Found | None]) -> Found | None:
    """What a doubtful create has made; None: `look` had no answer, or found nothing, in time."""
    for pause in (0.0, *SETTLE_PAUSES):
        clock.sleep(pause)
        try:
            if (found := look()) is not None:
                return found
        except ProviderError:
            continue
    return None


class Client:
    """One account at one address; safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        key: SecretStr,
        *,
        clock: Clock | None = None,
        jitter: random.Random | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        create_seconds: float = CREATE_SECONDS,
        patient: bool = True,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.clock = clock or SystemClock()
        self.jitter = jitter or random.Random()  # noqa: S311 spreads retries, no secret
        self.tries = TRIES if patient else 1
        self.timeout = httpx.Timeout(
            answer_seconds if patient else HASTY_SECONDS, connect=CONNECT_SECONDS
        )
        self.create_timeout = httpx.Timeout(create_seconds, connect=CONNECT_SECONDS)
        self.free_at = 0.0
        self._key = key

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The answer's JSON."""
        return self._ask("GET", path, params=params)

    def pages(self, path: str, params: Mapping[str, str | int] | None = None) -> Iterator[Any]:
        """Every page of a list; Away: it says that there is more, and not how to ask for it.

        The contract knows no pages; others have met them (docs/runpod.md), and a pod on the second
        one must not look as if it were gone.
        """
        asked, known = dict(params or {}), {""}
        while True:
            answer = self.get(path, asked)
            yield answer
            more = answer.get("pagination") if isinstance(answer, dict) else None
            if not isinstance(more, dict) or not more.get("hasNextPage"):
                return
            cursor = str(more.get("nextCursor") or "")
            if cursor in known:
                raise Away(f"RunPod answered a part of a list only: GET {path}")
            known.add(cursor)
            asked["cursor"] = cursor

    def listed(self, path: str, name: str) -> list[Mapping[str, Any]]:
        """Every entry of a list, of all its pages; Away: a page has none of that name."""
        found: list[Mapping[str, Any]] = []
        for answer in self.pages(path):
            if not isinstance(answer, dict) or not isinstance(answer.get(name), list):
                raise Away(f"RunPod answered GET {path} without {name}")
            found += answer[name]
        return found

    def create(self, path: str, body: Any, hidden: Iterable[str] = ()) -> Any:
        """POST; Away: it may have been done. hidden: see problems.failure."""
        return self._ask("POST", path, body=body, hidden=tuple(hidden), repeatable=False)

    def change(self, path: str, body: Any) -> Any:
        """PATCH to given values: sent twice it changes no more than once."""
        return self._ask("PATCH", path, body=body)

    def query(self, path: str, body: Any) -> Any:
        """POST of a question that changes nothing."""
        return self._ask("POST", path, body=body)

    def delete(self, path: str) -> None:
        self._ask("DELETE", path)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Any = None,
        hidden: tuple[str, ...] = (),
        repeatable: bool = True,
    ) -> Any:
        tries = 0
        while True:
            tries += 1
            try:
                return self._once(method, path, params, body, hidden, creates=not repeatable)
            except (Away, RateLimited) as error:
                left = self.tries - tries
                pause = pause_before_again(repeatable, error, tries, left, self.jitter.random())
                if pause is None:
                    raise
                log.warning("%s %s: again in %.1f s: %s", method, path, pause, error.message)
            self.clock.sleep(pause)

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: Any,
        hidden: tuple[str, ...],
        *,
        creates: bool,
    ) -> Any:
        what = f"{method} {path}"
        self._wait_for_quota(what)
        try:
            # A connection for each request: we ask a few times a minute, and nobody has to close.
            answer = httpx.request(
                method,
                self.base_url + path,
                params=params,
                json=body,
                headers={"Authorization": f"Bearer {self._key.get_secret_value()}"},
                timeout=self.create_timeout if creates else self.timeout,
                verify=trust(),
            )
        except httpx.HTTPError as error:
            raise Away(
                f"RunPod did not answer: {what}: {type(error).__name__}",
                cause="the network or RunPod is away",
                fix="nothing at first; see status.runpod.io when it lasts",
            ) from None
        if reset := used_up(answer.headers):
            self.free_at = self.clock.monotonic() + reset
        log.debug("%s: %s, request %s", what, answer.status_code, answer.headers.get(REQUEST_ID))
        if answer.status_code >= 400:
            status, said = answer.status_code, answer.text
            raise failure(what, status, answer.headers, said, hidden, creates=creates)
        if answer.status_code == 204 or (method == "DELETE" and answer.status_code < 300):
            return None  # whether it is so is seen by a look
        try:
            if answer.status_code < 300:
                return answer.json()
        except ValueError:
            pass
        raise Away(
            f"RunPod answered nonsense: {what}: {answer.status_code} "
            f"{told(answer.text, hidden)}{request_id(answer.headers)}",
            cause="something between here and RunPod answered instead of it",
            fix="check BRIGHTRUN_RUNPOD_REST_URL and proxies",
        )

    def _wait_for_quota(self, what: str) -> None:
        wait = self.free_at - self.clock.monotonic()
        if wait > LONGEST_WAIT:
            raise RateLimited(f"RunPod's quota is used up for {wait:.0f} s: {what}", wait)
        if wait > 0:
            self.clock.sleep(wait)


def pause_before_again(
    repeatable: bool, error: Away | RateLimited, tries: int, left: int, chance: float
) -> float | None:
    """Seconds until the same request is sent again, None: never. Pure.

    Exponential with full jitter (chance in [0, 1)) after a doubtful answer; as told after 429.
    """
    if left <= 0:
        return None
    if isinstance(error, RateLimited):
        return error.seconds + chance if error.seconds <= LONGEST_WAIT else None
    if not repeatable:
        return None
    return chance * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**tries)
