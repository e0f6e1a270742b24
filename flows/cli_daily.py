"""Commands of daily work: note, scorecard, template save | list | show | use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from brightrun.errors import UsageError
from flows.options import Job, Json, Sets

template = typer.Typer(help="Saved requests, shared by all who use this ledger.",
                       no_args_is_help=True)  # fmt: skip
Name = Annotated[str, typer.Argument(help="The template's name")]
LEFT_OUT = ("training_file", "requested_by", "repeat", "interrupt_at", "needed_by", "template")


def note(
    job: Job,
    text: Annotated[str, typer.Argument(help="The note; empty: show it.")] = "",
    append: Annotated[bool, typer.Option("--append", help="Add a line, keep the others.")] = False,
    json: Json = False,
) -> None:
    """Write or replace a job's note; `brightrun jobs --text WORD` finds it.

    Example: `brightrun note 261122-ab12cd "client liked it" --append`
    """
    from brightrun.context import open_job
    from flows.terminal import emit, tell

    known = open_job(job)
    row = known.ledger.job(known.job_id)
    if text:
        notes = f"{row.notes}\n{text}".strip() if append else text
        row = known.ledger.update_job(known.job_id, notes=notes)
    if json:
        emit({"job_id": known.job_id, "notes": row.notes})
    else:
        tell(row.notes or f"Job {known.job_id} has no note.")


def scorecard(
    since: Annotated[str, typer.Option(help="Jobs from this day on: 2026-11-01.")] = "",
    json: Json = False,
) -> None:
    """What the pipeline is judged by: value, target, n, or why it cannot be measured here."""
    from brightrun.history import Wanted
    from brightrun.ledger import Ledger
    from brightrun.scorecard import scorecard as scores_of
    from brightrun.settings import load
    from flows.options import moment_of
    from flows.terminal import emit, table

    ledger, zone = Ledger.open(load()), load().zone
    first = moment_of(since, zone) if since else None
    rows = ledger.history(Wanted(since=first), datetime.now(UTC))
    found = scores_of(rows, ledger.score_facts(first))
    if json:
        emit({"scores": [score.model_dump() for score in found]})
        return
    said = {True: "yes", False: "NO", None: "-"}
    cells = [(s.metric, s.value, s.target, s.n, said[s.met], s.note) for s in found]
    table("Scorecard", ("measure", "value", "target", "n", "met", "note"), cells)


@template.command("save")
def save(
    name: Name,
    job: Annotated[str, typer.Option("--from", help="The job whose request is kept.")],
    set_: Sets = None,
    notes: Annotated[str, typer.Option(help="What it is for.")] = "",
    by: Annotated[str, typer.Option(help="Who saves it. Default: git or system user.")] = "",
    json: Json = False,
) -> None:
    """Keep a job's request under a name: all but its file, its person and its date.

    Example: `brightrun template save delivery --from 261122-ab12cd --set epochs=2`
    """
    from brightrun.context import open_job
    from flows.cli_decide import whoami
    from flows.options import overrides_of
    from flows.terminal import emit, say

    known = open_job(job)
    kept = known.request.model_dump(mode="json", exclude=set(LEFT_OUT))
    kept["overrides"] = {**_given(kept["overrides"]), **overrides_of(set_)}
    checked(kept, "x")
    row = known.ledger.save_template(name, kept, by=by.strip() or whoami(), notes=notes)
    if json:
        emit(as_json(row))
    say(f"Saved template {name}, as job {known.job_id} was asked for.")


@template.command("list")
def list_(json: Json = False) -> None:
    """All templates."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load
    from flows.terminal import emit, table

    rows = Ledger.open(load()).templates()
    if json:
        emit({"templates": [as_json(row) for row in rows]})
        return
    cells = [
        (r.name, r.request["preset"], r.request.get("client", ""), r.created_by, r.notes)
        for r in rows
    ]
    table("Templates", ("name", "preset", "client", "by", "notes"), cells)


@template.command("show")
def show(name: Name, json: Json = False) -> None:
    """What a template asks for."""
    from flows.terminal import emit, facts

    row = known_template(name)
    if json:
        emit(as_json(row))
        return
    values = {**_given(row.request), "overrides": _given(row.request["overrides"]) or ""}
    facts(f"Template {row.name} by {row.created_by}", list(values.items()))


@template.command("use")
def use(
    name: Name,
    file: Annotated[str, typer.Argument(help="Registered name or path of the training file")],
    set_: Sets = None,
    run_name: Annotated[str, typer.Option("--name", help="Name of this run.")] = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit to the deployment (`make ui`) and return.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Agree to the estimate if it is below the limits.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a file as a template says; like `train`, with its estimate and gate.

    Example: `brightrun template use delivery examples/training-file.json --yes`
    """
    from flows import running
    from flows.cli_decide import finish, whoami
    from flows.cli_train import begin
    from flows.options import overrides_of
    from flows.terminal import emit

    kept = dict(known_template(name).request)
    kept["overrides"] = {**kept["overrides"], **overrides_of(set_)}
    kept |= {"requested_by": whoami(), "repeat": yes}
    kept |= {"confirm": "above_limits" if yes else "always"}
    if run_name:
        kept["name"] = run_name
    request = checked(kept, file)
    job_id = begin(request, json, detach=detach, about=f", from template {name}")
    if detach:
        emit(running.submit(request, job_id))
        return
    finish(running.run(request, job_id, yes=yes), json)


def known_template(name: str) -> Any:
    """UsageError names the templates there are."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load

    ledger = Ledger.open(load())
    row = ledger.template(name)
    if row is None:
        names = ", ".join(r.name for r in ledger.templates()) or "none yet"
        raise UsageError(f"there is no template {name!r}", fix=f"there are: {names}")
    return row


def checked(request: dict[str, Any], file: str) -> Any:
    """The request as a value; UsageError: a value over the preset that cannot be."""
    from brightrun.jobs import JobRequest
    from brightrun.presets import apply_overrides, preset_of

    overrides = request["overrides"]
    values = apply_overrides(preset_of(request["preset"]).values, overrides).model_dump()
    kept = {name: values[name] for name in overrides}
    return JobRequest.model_validate({**request, "overrides": kept, "training_file": file})


def as_json(row: Any) -> dict[str, Any]:
    about = {"name": row.name, "notes": row.notes, "created_by": row.created_by}
    return {**about, "created_at": row.created_at.isoformat(), "request": row.request}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v not in (None, "", {}, [])}
