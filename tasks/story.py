"""What the run page's logs tell: the job's story in sentences, while it happens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from brightrun.faults import anchor
from brightrun.happening import Happening
from reports import formats

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR
Line = tuple[int, str]


def tell(text: str, level: int = INFO) -> None:
    """A line in the log of the running task or flow; a plain call has no log to write to."""
    try:
        get_run_logger().log(level, text)
    except MissingContextError:
        return


def undelivered(problems: Sequence[str]) -> None:
    """Messages that stay queued."""
    for problem in problems:
        tell(f"Not delivered, tried again later: {problem}", WARNING)


def remark(text: str, warning: bool) -> None:
    """The same for who knows nothing of logs (`freezing.Tell`)."""
    tell(text, WARNING if warning else INFO)


def sentence(event: Happening) -> Line | None:
    """Level and text of a pod's event; None for the ones that come all the time."""
    said = event.payload
    match event.type:
        case "stage":
            return INFO, f"Pod {event.attempt}: {_stage(said)}"
        case "checkpoint":
            size = formats.size(said.get("bytes"))
            return INFO, f"Pod {event.attempt}: checkpoint at step {said.get('step')} ({size})"
        case "warning" | "error":
            level = ERROR if event.type == "error" else WARNING
            place = f"See {anchor(said['fault'])}" if said.get("fault") else ""
            parts = (str(said.get("message", "")), str(said.get("fix") or ""), place)
            return level, f"Pod {event.attempt}: {'. '.join(filter(None, parts))}"
        case _:
            return None


def step_sentence(event: Happening) -> str:
    """Where the training is, from a metric event."""
    said = event.payload
    loss = formats.number(said["loss"], 3)
    return f"Pod {event.attempt}: step {said['step']} of {said['total_steps']}, loss {loss}"


def _stage(said: dict[str, Any]) -> str:
    name, status = said.get("name"), said.get("status")
    detail = f" ({_words(said['detail'])})" if said.get("detail") else ""
    if status == "started" and said.get("expected_s"):
        return f"{name} started, about {formats.duration(said['expected_s'])}{detail}"
    if status == "finished" and said.get("elapsed_s") is not None:
        return f"{name} finished after {formats.duration(said['elapsed_s'])}{detail}"
    return f"{name} {status}{detail}"


def _words(detail: Any) -> str:
    """{'sequences': 21, 'reasons': [...]} as a person reads it."""
    if isinstance(detail, dict):
        return ", ".join(f"{str(k).replace('_', ' ')} {_words(v)}" for k, v in detail.items())
    if isinstance(detail, list | tuple):
        return "; ".join(map(str, detail))
    return formats.number(detail) if isinstance(detail, int | float) else str(detail)
