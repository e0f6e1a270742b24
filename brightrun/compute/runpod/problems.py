"""RunPod's answers of failure, each mapped once to our tree.

    404  NotThere                   400 to 403, 409, 422  Denied: asking again changes nothing
    429  RateLimited: wait          408, 5xx, no answer   Away: unknown whether it was done

Of a create, that nothing was rented: 400 Refused (perhaps broken), 402 BalanceEmpty (stop),
403 Refused (broken if all are), 404 Denied. Said of a pod that is there, or of a list, the same
numbers say nothing of what is rented: they are errors of the provider like the others.

The body of a failure is problem+json {title, status, detail, errors}; anything else is survived.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from brightrun.compute.provider import Refused
from brightrun.errors import BudgetError, ConfigurationError, ProviderError

# No capacity has no code of its own, only words; these are some of them.
FULL = ("capacity", "no longer any instances", "no instances", "not available", "unavailable")
REQUEST_ID = "x-request-id"
SHOWN = 300
NOT_JSON = "not JSON: "
WINDOW = re.compile(r'"(?P<name>\w+)";r=(?P<left>\d+);t=(?P<reset>\d+)')


class Away(ProviderError):
    """No usable answer: the request may have been carried out."""

    code = "provider_away"


class RateLimited(ProviderError):
    """Not carried out; `seconds` until it may be asked again."""

    code = "rate_limited"

    def __init__(self, message: str, seconds: float, *, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.seconds = seconds


class NotThere(ProviderError):
    code = "not_there"


class Denied(ProviderError):
    """The key, the state of the pod or our request is wrong; not carried out."""

    code = "provider_denied"


class BalanceEmpty(BudgetError):
    code = "balance_empty"


Failure = Refused | BalanceEmpty | Away | RateLimited | NotThere | Denied


@contextmanager
def to_mend() -> Iterator[None]:
    """Where no other offer helps, a no is ConfigurationError: waiting would change nothing."""
    try:
        yield
    except (Denied, Refused) as error:
        raise ConfigurationError(error.message, cause=error.cause, fix=error.fix) from error


def failure(
    what: str,
    status: int,
    headers: Mapping[str, str],
    body: str,
    hidden: Iterable[str] = (),
    *,
    creates: bool = False,
) -> Failure:
    """The error for an answer of status >= 400. what: "POST /v2/pods"; creates: that rents.

    hidden: values that a provider may echo and that nobody may read.
    """
    words = told(body, hidden)
    said = f"{what}: {status} {words}{request_id(headers)}"
    if creates and (no := refusal(said, status, words)) is not None:
        return no
    if status == 404:
        return NotThere(f"RunPod does not know it: {said}")
    if status == 429:
        return RateLimited(
            f"RunPod's rate limit is reached: {said}",
            wait_of(headers),
            fix="nothing: it is asked again later; fewer jobs at once help",
        )
    if status >= 500 or status == 408:
        return Away(f"RunPod failed: {said}", cause="a fault at RunPod", fix="nothing at first")
    cause, fix = _DENIED.get(status, _BUG)
    return Denied(f"RunPod denied: {said}", cause=cause, fix=fix)


def refusal(said: str, status: int, words: str) -> Refused | BalanceEmpty | Denied | None:
    """A create's definite no: nothing was rented."""
    if status == 400:
        full = any(sign in words.lower() for sign in FULL)
        return Refused(f"RunPod refused: {said}", said=words, broken=not full)
    if status == 402:
        return BalanceEmpty(
            f"RunPod's account has not enough credit: {said}",
            fix="add credit in RunPod's console; a pod needs one hour's worth to start",
        )
    if words.startswith(NOT_JSON):
        return None
    if status == 403:
        return Refused(
            f"RunPod refused: {said}",
            said=words,
            broken=True,
            cause="the account or the key may not use this pool",
            fix="give the key access to pods in RunPod's console, or allow other data centres",
        )
    if status == 404 and said.startswith("POST /v2/pods"):
        return Denied(
            f"RunPod denied: {said}",
            cause="the volume or the registry's credential that the pod is to have is not there",
            fix="mend BRIGHTRUN_RUNPOD_VOLUME or BRIGHTRUN_RUNPOD_REGISTRY; nothing was rented",
        )
    return None


_BUG = (
    "our request does not match RunPod's contract: a fault of this program",
    "report it with the request id; nothing was rented",
)
_DENIED = {
    401: (
        "BRIGHTRUN_RUNPOD_API_KEY is missing, wrong or expired",
        "make a key in RunPod's console and set it",
    ),
    402: ("the account has not enough credit", "add credit in RunPod's console"),
    403: (
        "the key may not do this, or something between here and RunPod refuses",
        "check the key's permissions, BRIGHTRUN_RUNPOD_REST_URL and proxies",
    ),
    409: (
        "the state of the pod does not allow it (it belongs to a cluster, or is locked)",
        "look at the pod in RunPod's console",
    ),
}


def told(body: str, hidden: Iterable[str] = ()) -> str:
    """What a body says, for people: title, detail and errors of problem+json, else its text."""
    try:
        facts = json.loads(body)
        parts = [str(facts.get("title", "")), str(facts.get("detail", ""))]
        parts += [str(error) for error in facts.get("errors") or ()]
        text = "; ".join(part for part in parts if part)
    except (ValueError, AttributeError, TypeError):
        text = NOT_JSON + " ".join(re.sub(r"<[^>]*>", " ", body).split())
    return unread(text, hidden)[:SHOWN]


def unread(text: str, hidden: Iterable[str]) -> str:
    """The text without the hidden values."""
    for value in hidden:
        text = text.replace(value, "**********") if value else text
    return text


def request_id(headers: Mapping[str, str]) -> str:
    """ " (request abc)", or nothing when the answer carries no id."""
    found = headers.get(REQUEST_ID, "")
    return f" (request {found[:80]})" if found else ""


def wait_of(headers: Mapping[str, str], otherwise: float = 5.0) -> float:
    """Seconds to wait after a 429: Retry-After, else the window that is used up."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return max(used_up(headers), 0.0) or otherwise


def used_up(headers: Mapping[str, str]) -> float:
    """Seconds until the last window without a request left is reset; 0: there is one left.

    RateLimit: "minute";r=0;t=12, "hour";r=2800;t=1812
    """
    windows = WINDOW.finditer(headers.get("ratelimit", ""))
    return max((float(w["reset"]) for w in windows if int(w["left"]) == 0), default=0.0)
