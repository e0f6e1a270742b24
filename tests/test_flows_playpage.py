"""The playground's page: streamed, on loopback, for who has its address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from brightrun.errors import TrainerError, UsageError
from flows.playpage import Page

NASTY = "</div><script>alert(1)</script>"


def echo(prompt: str) -> Iterator[dict[str, Any]]:
    """Answers as the trainer's process does."""
    for model in ("baseline", "trained"):
        yield {"model": model, "text": f"{prompt} "}
        yield {"model": model, "finish_reason": "stop", "tokens": 1}


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page("job x")
    made.start(echo)
    yield made
    made.stop()


def ask(page: Page, **changes: Any) -> httpx.Response:
    headers = {"X-Playground": page.token, **changes.pop("headers", {})}
    content = changes.pop("content", json.dumps({"prompt": NASTY}))
    url = f"http://127.0.0.1:{page.port}/ask"
    return httpx.post(url, content=content, headers=headers, trust_env=False)


def test_both_answers_come_as_json_lines(page: Page) -> None:
    events = [json.loads(line) for line in ask(page).text.splitlines()]
    assert [e.get("model") for e in events] == ["baseline", "baseline", "trained", "trained"]
    assert events[0]["text"] == f"{NASTY} "


def test_the_page_holds_no_text_of_anybody_and_runs_nothing_foreign(page: Page) -> None:
    found = httpx.get(page.address.split("#")[0], trust_env=False)
    assert page.token not in found.text
    assert "innerHTML" not in found.text
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "http" not in found.text.replace("http-equiv", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Playground": "guessed"},
        {"X-Playground": b"\xe9"},
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_who_does_not_come_from_the_page_is_refused(page: Page, headers: dict[str, Any]) -> None:
    assert ask(page, headers=headers).status_code == 403


@pytest.mark.parametrize("content", ["", "{}", "nonsense", '{"prompt": "  "}', '["prompt"]'])
def test_what_is_no_question_is_answered_in_words(page: Page, content: str) -> None:
    found = ask(page, content=content)
    assert (found.status_code, found.text) == (400, "Send {prompt: ...} to /ask.")


def test_an_answer_that_breaks_off_is_told_in_words(page: Page) -> None:
    def breaking(prompt: str) -> Iterator[dict[str, Any]]:
        yield {"model": "baseline", "text": prompt}
        raise TrainerError("the models' process has ended", fix="start it again")

    page.answer = breaking
    events = [json.loads(line) for line in ask(page).text.splitlines()]
    assert events[-1]["error"]["message"] == "the models' process has ended"


def test_a_busy_port_is_told_before_a_model_is_loaded(page: Page) -> None:
    with pytest.raises(UsageError, match=f"port {page.port} cannot be had"):
        Page("job y", page.port)


def test_a_page_that_was_never_started_stops() -> None:
    Page("job z").stop()
