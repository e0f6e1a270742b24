"""The two wires to language models: OpenAI's chat completions and Anthropic's messages, over httpx.

Two POSTs; the vendors' own clients would add two dependencies and their own ideas of retrying.
A busy or broken server is asked again (429, 5xx, time-out, garbage; Retry-After is kept to); a
refusal of the key or of the request is an error at once. A key never leaves in an error or a log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol

import httpx

from brightrun.clock import Clock
from brightrun.errors import EvaluationError
from evals.judge_names import HOMES, JudgeName
from evals.judge_prompts import Prompt
from evals.judge_purse import Purse

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# Any other 5xx, and 408, may come after the request was read: it may be billed.
TOO_BUSY = frozenset({503, 529})
TRIES = 6
LONGEST_WAIT_S = 120.0
TIMEOUT_S = 120.0
VERSION = {"anthropic-version": "2023-06-01"}  # every request to Anthropic names it
Stop = Literal["end", "length", "refusal"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, and what it used. text is empty after a refusal."""

    text: str
    stop: Stop
    input_tokens: int
    output_tokens: int


class Chat(Protocol):
    """A language model that answers one prompt."""

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The request as it is sent: what a cached reply is found by."""
        ...

    def ask(self, prompt: Prompt) -> Reply:
        """EvaluationError when no reply is to be had; what was sent may be billed."""
        ...


class OpenAIChat:
    """POST {base_url}/chat/completions."""

    def __init__(self, name: JudgeName, key: str, most_tokens: int, sender: Sender) -> None:
        self.name, self.most_tokens, self.sender = name, most_tokens, sender
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, prompt: Prompt) -> dict[str, Any]:
        # Servers of one's own know the older name; OpenAI's newer models only the newer one.
        limit = "max_tokens" if self.name.own_server else "max_completion_tokens"
        return {
            "model": self.name.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            limit: self.most_tokens,
        }

    def ask(self, prompt: Prompt) -> Reply:
        url = f"{self.name.base_url}/chat/completions"
        return self.sender.post(
            url, self.headers, self.body(prompt), self.most_tokens, _from_openai
        )


class AnthropicChat:
    """POST {base_url}/v1/messages."""

    def __init__(self, name: JudgeName, key: str, most_tokens: int, sender: Sender) -> None:
        self.name, self.most_tokens, self.sender = name, most_tokens, sender
        self.headers = {**VERSION, **({"x-api-key": key} if key else {})}

    def body(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self.name.model,
            "max_tokens": self.most_tokens,
            "system": prompt.system,
            "messages": [{"role": "user", "content": prompt.user}],
        }

    def ask(self, prompt: Prompt) -> Reply:
        url = f"{self.name.base_url}/v1/messages"
        return self.sender.post(
            url, self.headers, self.body(prompt), self.most_tokens, _from_anthropic
        )


def chat(name: JudgeName, key: str, most_tokens: int, sender: Sender) -> Chat:
    kinds: dict[str, type[OpenAIChat] | type[AnthropicChat]] = {
        "openai": OpenAIChat,
        "anthropic": AnthropicChat,
    }
    assert set(kinds) == set(HOMES)
    return kinds[name.protocol](name, key, most_tokens, sender)


class Sender:
    """POST with patience, each try paid from the purse. Safe for several threads."""

    def __init__(self, client: httpx.Client, purse: Purse, clock: Clock) -> None:
        self.client, self.purse, self.clock = client, purse, clock

    def post(
        self,
        url: str,
        headers: dict[str, str],
        body: dict[str, Any],
        most_tokens: int,
        read: Callable[[Any], Reply],
    ) -> Reply:
        said, wait = "", 0.0
        for attempt in range(TRIES):
            if attempt:
                self.clock.sleep(wait)
            wait = min(LONGEST_WAIT_S, 2.0**attempt)
            paid = self.purse.reserve(len(str(body)), most_tokens)
            try:
                answer = self.client.post(url, headers=headers, json=body)
            except httpx.RequestError as error:
                said = type(error).__name__  # may be billed: what was reserved stays
                continue
            if answer.status_code != 200:
                if not _maybe_billed(answer.status_code):
                    self.purse.release(paid)
                if answer.status_code not in AGAIN:
                    raise _refused(url, answer)
                said = f"HTTP {answer.status_code}"
                wait = retry_after(answer.headers.get("retry-after", ""), wait)
                continue
            try:
                reply = read(answer.json())
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                said = "a reply that is not of its protocol"
                continue
            self.purse.settle(paid, reply.input_tokens, reply.output_tokens)
            return reply
        raise EvaluationError(
            f"{_host(url)} gave no reply in {TRIES} tries (last: {said})",
            cause="the judge's server is down, overloaded or speaks another protocol",
            fix="repeat the command later: what was judged is kept and not paid for again",
        )


def _maybe_billed(status: int) -> bool:
    return status == 408 or (status >= 500 and status not in TOO_BUSY)


def retry_after(text: str, otherwise: float, now: datetime | None = None) -> float:
    """Seconds of a Retry-After header (a number or a date), at most LONGEST_WAIT_S."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            then = parsedate_to_datetime(text)
        except ValueError:
            return otherwise
        seconds = (then - (now or datetime.now(UTC))).total_seconds()
    return min(LONGEST_WAIT_S, max(0.0, seconds))


def _from_openai(document: Any) -> Reply:
    choice, usage = document["choices"][0], document.get("usage") or {}
    message = choice["message"]
    text = str(message.get("content") or "")
    refused = bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter"
    stop: Stop = (
        "refusal" if refused else "length" if choice.get("finish_reason") == "length" else "end"
    )
    used = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    return Reply("" if refused else text, stop, *used)


def _from_anthropic(document: Any) -> Reply:
    text = "".join(str(part["text"]) for part in document["content"] if part["type"] == "text")
    usage, reason = document.get("usage") or {}, document.get("stop_reason")
    stop: Stop = "refusal" if reason == "refusal" else "length" if reason == "max_tokens" else "end"
    used = int(usage.get("input_tokens") or 0), int(usage.get("output_tokens") or 0)
    return Reply("" if stop == "refusal" else text, stop, *used)


def _host(url: str) -> str:
    return httpx.URL(url).host


def _refused(url: str, answer: httpx.Response) -> EvaluationError:
    # The body may repeat the request or the key: only the status is told.
    fixes = {
        401: "check BRIGHTRUN_OPENAI_API_KEY, _ANTHROPIC_API_KEY or _JUDGE_API_KEY",
        403: "check what the key is allowed to do",
        404: "check the model's name and the base URL",
    }
    return EvaluationError(
        f"{_host(url)} refused the judge's request: HTTP {answer.status_code}",
        fix=fixes.get(answer.status_code, "check the model's name and what it accepts"),
    )
