"""What a run shows in the Prefect UI: markdown cards that are rewritten in place."""

from __future__ import annotations

from uuid import UUID

from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.context import TaskRunContext


def publish(key: str, markdown: str, description: str) -> UUID | None:
    """Create an artifact of the running task; without one (a plain call) there is nothing to do."""
    if TaskRunContext.get() is None:
        return None
    made = create_markdown_artifact(markdown=markdown, key=key, description=description)
    assert isinstance(made, UUID)  # called outside of async code
    return made


def rewrite(artifact: UUID | None, markdown: str) -> None:
    """Replace the text of an artifact."""
    if artifact is not None:
        with get_client(sync_client=True) as client:
            client.update_artifact(artifact, ArtifactUpdate(data=markdown))


def link(key: str, url: str, text: str, description: str) -> None:
    """A link that opens the report; only http links can be clicked from the UI."""
    if TaskRunContext.get() is not None:
        create_link_artifact(link=url, link_text=text, key=key, description=description)
