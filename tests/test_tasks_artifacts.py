"""Cards of a run while Prefect's server is away: a port where nobody listens."""

import socket
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from prefect.context import TaskRunContext
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from tasks import artifacts, story


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the run says, in a task of a run whose server is gone."""
    said: list[str] = []
    monkeypatch.setattr(story, "tell", lambda line, level=None: said.append(line))
    running = SimpleNamespace(task_run=SimpleNamespace(flow_run_id=uuid4()))
    monkeypatch.setattr(TaskRunContext, "get", classmethod(lambda cls: running))
    return said


@pytest.fixture
def away() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/api"


@pytest.mark.parametrize("kind", ["publish", "rewrite", "link"])
def test_a_server_that_is_away_costs_a_card_and_not_the_run(
    kind: str, told: list[str], away: str
) -> None:
    with temporary_settings({PREFECT_API_URL: away, PREFECT_CLIENT_MAX_RETRIES: 0}):
        if kind == "publish":
            assert artifacts.publish("estimate", "text", "what") is None
        elif kind == "rewrite":
            artifacts.rewrite(UUID(int=1), "text")
        else:
            artifacts.link("report", "http://127.0.0.1:1/r.html", "report", "what")
    assert len(told) == 1
    assert "not written" in told[0]
