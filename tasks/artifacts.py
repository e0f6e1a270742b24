"""What a run shows in the Prefect UI: markdown cards that are rewritten in place.

A flow run has one artifact per key: a retry or a restart after the gate goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.context import TaskRunContext

from tasks import story


def publish(key: str, markdown: str, description: str) -> UUID | None:
    """Show a card under the running task; without one (a plain call) there is nothing to do."""
    if TaskRunContext.get() is None:
        return None
    with only_shown(key):
        if (known := _mine(key)) is not None:
            rewrite(known, markdown)
            return known
        made = create_markdown_artifact(markdown=markdown, key=key, description=description)
        assert isinstance(made, UUID)  # called outside of async code
        return made
    return None


def table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    """A table under the running task; one without rows is not shown."""
    if TaskRunContext.get() is not None and rows:
        with only_shown(key):
            create_table_artifact(table=rows, key=key, description=description)


def rewrite(artifact: UUID | None, markdown: str) -> None:
    """Replace the text of an artifact; the next writing brings up to date what was missed."""
    if artifact is None:
        return
    with only_shown(str(artifact)), get_client(sync_client=True) as client:
        client.update_artifact(artifact, ArtifactUpdate(data=markdown))


def link(key: str, url: str, text: str, description: str) -> None:
    """A link that opens the report; only http links can be clicked from the UI."""
    if TaskRunContext.get() is None:
        return
    with only_shown(key):
        if (known := _mine(key)) is not None:
            rewrite(known, f"[{text}]({url})")
            return
        create_link_artifact(link=url, link_text=text, key=key, description=description)


@contextmanager
def only_shown(card: str) -> Iterator[None]:
    """A server that is away must not end the training that a card only shows."""
    try:
        yield
    except httpx.HTTPError as error:
        story.tell(f"Card {card} not written: {type(error).__name__}", story.WARNING)


def existing(key: str, flow_run_id: UUID) -> UUID | None:
    """A flow run's artifact of that key."""
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(any_=[key]),
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]),
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return found[0].id if found else None


def _mine(key: str) -> UUID | None:
    """The running task's flow run has this artifact already."""
    context = TaskRunContext.get()
    run = context.task_run.flow_run_id if context is not None else None
    return None if run is None else existing(key, run)
