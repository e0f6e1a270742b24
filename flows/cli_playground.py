"""The command that lets a person try prompts on both models."""

from __future__ import annotations

import contextlib
import json as jsonlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Job, Json

if TYPE_CHECKING:
    from brightrun.context import JobContext
    from flows.playpage import Page

Event = dict[str, Any]
AGAIN = "start the playground again"


def playground(
    job: Job,
    prompt: Annotated[str, typer.Option(help="Ask this once, print both answers, end.")] = "",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page. Default: a free one.")
    ] = 0,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Longest answer. Default: the job's.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask baseline and trained model the same, side by side, word by word: here and in a page.

    Runs on this machine with the job's system prompt, greedy; one load of the base model. The page
    is on loopback only. Ctrl-D ends. `--json` prints both answers of one `--prompt`.
    """
    from brightrun.context import open_job
    from flows.playpage import Page
    from flows.terminal import emit, say

    if json and not prompt:
        raise typer.BadParameter("--json prints the answers to one --prompt; a talk has no end")
    known = open_job(job)
    if prompt:
        with models(known, max_new_tokens) as both:
            if json:
                emit({"job_id": known.job_id, "prompt": prompt, **answers(both.ask(prompt))})
            else:
                show(both.ask(prompt))
        return
    # Before the models: a busy port is told at once.
    page = Page(f"job {known.job_id}, {known.spec.base_model.name}, greedy", port)
    try:
        with models(known, max_new_tokens) as both:
            page.start(both.ask)
            say(f"In a browser: {page.address}", "bold")
            say("Or type here what a client says. Ctrl-D ends.")
            converse(both, page)
    finally:
        page.stop()


def answers(events: Iterator[Event]) -> dict[str, dict[str, Any]]:
    """{model: {text, tokens, finish_reason}} of one question; the trainer's own error."""
    from brightrun.errors import from_dict

    found: dict[str, dict[str, Any]] = {name: {"text": ""} for name in ("baseline", "trained")}
    for event in events:
        if "error" in event:
            raise from_dict(event["error"])
        mine = found[event["model"]]
        mine["text"] += event.get("text", "")
        mine |= {name: event[name] for name in ("tokens", "finish_reason") if name in event}
    return found


def converse(both: Models, page: Page) -> None:
    """Answer what is typed until Ctrl-D; TrainerError when the models' process has ended."""
    from brightrun.errors import BrightRunError
    from flows.terminal import complain

    with contextlib.suppress(typer.Abort, KeyboardInterrupt):
        while True:
            typed = typer.prompt(">", prompt_suffix=" ", err=True, default="", show_default=False)
            if not typed.strip():
                continue
            try:
                with page.one_at_a_time:
                    show(both.ask(typed))
            except BrightRunError as error:
                if both.ended:
                    raise
                complain(error, as_json=False)


class Models:
    """The trainer's process that answers as both models; `ended` once it is known to be gone."""

    def __init__(self, process: subprocess.Popen[str], system: str) -> None:
        self.process = process
        self.ended = False
        self.system: list[dict[str, str]] = (
            [{"role": "system", "content": system}] if system.strip() else []
        )

    def ask(self, prompt: str) -> Iterator[Event]:
        """Pieces of both answers as they come; TrainerError when the process ends before them."""
        from brightrun.errors import TrainerError

        messages = [*self.system, {"role": "user", "content": prompt}]
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(jsonlib.dumps({"messages": messages}) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):  # ValueError: closed below
            self.ended = True
            # Closed with what could not be sent, or leaving the process would try it once more.
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            raise TrainerError("the models' process has ended", fix=AGAIN) from None
        for event in self.events():
            if event.get("done"):
                return
            yield event
            if "error" in event:
                return
        self.ended = True
        raise TrainerError("the models' process ended in the middle of an answer", fix=AGAIN)

    def events(self) -> Iterator[Event]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # else it died while it wrote
                yield jsonlib.loads(line)


@contextlib.contextmanager
def models(job: JobContext, most: int | None) -> Iterator[Models]:
    """Base model and adapter loaded in the trainer's process; it ends with the block.

    EvaluationError without a finished adapter; the trainer's own error when it cannot load.
    """
    from brightrun import basemodels
    from brightrun.errors import EvaluationError, TrainerError, from_dict
    from brightrun.settings import CHECKOUT
    from flows.terminal import say

    if job.folder.manifest("adapter") is None:
        raise EvaluationError(
            f"job {job.job_id} has no finished adapter to play with",
            cause=f"it is {job.ledger.job(job.job_id).status}",
            fix=f"let it finish first: brightrun train --resume {job.job_id}",
        )
    spec = job.spec
    base = basemodels.prepared_folder(spec.base_model, job.settings.models)
    values = spec.values.model_copy(update={"max_new_tokens": most or spec.values.max_new_tokens})
    facts = {"values": values.model_dump(mode="json"), "threads": spec.threads}
    system = str(job.folder.read_json("validation.json").get("system_prompt", ""))
    with tempfile.TemporaryDirectory(prefix="brightrun-playground-") as adapter:
        job.folder.download_folder("adapter", Path(adapter))
        command = [
            sys.executable, "-m", "trainer", "playground", "--base", str(base),
            "--adapter", adapter, "--settings", jsonlib.dumps(facts),
        ]  # fmt: skip
        say("Loading the model (once for both)")
        with subprocess.Popen(
            command, cwd=CHECKOUT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            both = Models(process, system)
            try:
                first = next(both.events(), None)
                if first is None:
                    raise TrainerError("the models' process ended while it loaded")
                if "error" in first:
                    raise from_dict(first["error"])
                yield both
            finally:
                process.kill()


def show(events: Iterator[Event]) -> None:
    """Both answers in two columns while they grow; in plain lines where there is no terminal."""
    from rich.columns import Columns
    from rich.live import Live
    from rich.panel import Panel
    from rich.text import Text

    from brightrun.errors import from_dict
    from flows.terminal import OUT

    texts = {"baseline": "", "trained": ""}
    endings = dict.fromkeys(texts, "")

    def drawn() -> Columns:
        width = max(30, OUT.width // 2 - 1)
        return Columns(
            Panel(Text(texts[name]), title=name, subtitle=endings[name], width=width)
            for name in texts
        )

    with Live(console=OUT, auto_refresh=False, get_renderable=drawn, transient=False) as live:
        for event in events:
            if "error" in event:
                raise from_dict(event["error"])
            if "text" in event:
                texts[event["model"]] += event["text"]
            if "finish_reason" in event:
                cut = ", cut at the limit" if event["finish_reason"] == "length" else ""
                endings[event["model"]] = f"{event['tokens']} tokens{cut}"
            if OUT.is_terminal:
                live.refresh()
        live.refresh()
