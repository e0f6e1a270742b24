"""A training file as the commands see it: found by name or path, checked, shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from brightrun.counting import count
from brightrun.errors import DatasetError

if TYPE_CHECKING:
    from brightrun.conversations import FileReport
    from brightrun.ledger import FileRow
    from brightrun.tokens import ChatTokenizer
    from evals.contamination import Contamination

SHOWN = 50
MOST_TOKENS = 131072
QUICK_BYTES = 10_000_000
UNCHANGED, CHANGED, MISSING = "unchanged", "changed since it was registered", "missing"


def checked(
    file: Path,
    *,
    quality_min: float | None = None,
    max_length: int = 8192,
    too_long: Literal["refuse", "split"] = "refuse",
    base_model: str = "",
    provider: str = "local",
) -> FileReport:
    """Validate with the prepared tokenizer; a bar on long files."""
    from rich.progress import Progress

    from brightrun import basemodels
    from brightrun.settings import load
    from expectations.validation import validate_file
    from flows.terminal import ERR

    file = registered(str(file))
    existing(file)
    name = basemodels.chosen(base_model, provider, load())
    with Progress(console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        task = bar.add_task("checking", total=file.stat().st_size)
        return validate_file(
            file,
            tokenizer=tokenizer_of(name),
            max_length=min(max_length, context_of(name)),
            context=basemodels.context_of(name, load().models),
            too_long=too_long,
            max_json_gb=load().max_json_gb,
            quality_min=quality_min,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def registered(name: str) -> Path:
    """The file of a registered name, or the path itself; a folder hides no name."""
    from brightrun.ledger import Ledger
    from brightrun.settings import load

    settings = load()
    if Path(name).is_file() or not (
        settings.database_url or (settings.home / "ledger.db").exists()
    ):
        return Path(name)
    known = Ledger.open(settings).file(name)
    return Path(known.path if known is not None else name)


def context_of(base_model: str) -> int:
    """Longest sequence of a base model; no limit of its own while nothing is known about it."""
    from brightrun import basemodels
    from brightrun.settings import load

    return basemodels.context_of(base_model, load().models) or MOST_TOKENS


def state_of(row: FileRow, *, quick: bool = False) -> str:
    """A registered file as it is now: unchanged, changed since it was registered, or missing.

    quick: a large file that was not written since is not read again.
    """
    from brightrun.runfolder import sha256_file

    path = Path(row.path)
    if not path.is_file():
        return MISSING
    known = path.stat()
    if quick and known.st_size > QUICK_BYTES and known.st_mtime < row.registered_at.timestamp():
        return UNCHANGED
    return UNCHANGED if sha256_file(path) == row.sha256 else CHANGED


def existing(file: Path) -> None:
    """DatasetError when there is no such file."""
    if file.is_dir():
        raise DatasetError(f"{file} is a folder", fix="give the .json or .jsonl file in it")
    if not file.is_file():
        raise DatasetError(
            f"{file} does not exist", fix="check the path, or `brightrun files list`"
        )


def tokenizer_of(
    base_model: str,
) -> ChatTokenizer | None:
    """The prepared tokenizer; None when it is not here: counts are then approximate.

    ConfigurationError: there can be no such base model.
    """
    from brightrun import basemodels
    from brightrun.settings import load
    from brightrun.tokens import ChatTokenizer

    settings = load()
    name = basemodels.chosen(base_model, "local", settings)
    basemodels.key_of(name)
    if not basemodels.is_prepared(name, settings.models):
        return None
    return ChatTokenizer.load(basemodels.prepared_folder(name, settings.models))


def tell_defect(what: str, fix: str, style: str) -> None:
    """What is wrong, and its mend on a line of its own."""
    from flows.terminal import say

    say(what, style)
    if fix:
        say(f"  Fix: {fix}")


def examined(
    file: Path,
    *,
    quality_min: float | None = None,
    max_length: int = 8192,
    too_long: Literal["refuse", "split"] = "refuse",
    base_model: str = "",
    provider: str = "local",
    tested_with: Mapping[str, str] | None = None,
) -> tuple[FileReport, Contamination | None]:
    """`checked`, and what we test with is looked for in a file that is valid so far.

    tested_with: a client's own files, as in `JobRequest.tested_with`; ours where there are none.
    """
    report = checked(
        file,
        quality_min=quality_min,
        max_length=max_length,
        too_long=too_long,
        base_model=base_model,
        provider=provider,
    )
    if not report.valid:
        return report, None
    from evals import contamination, own

    tested = own.everything(tested_with)
    close = contamination.of_file(registered(str(file)), tested.scenarios, tested.questions)
    if close.blocking:
        report = report.model_copy(update={"valid": False, "errors": close.defects()})
    return report, close


def show_report(report: FileReport, as_json: bool, close: Contamination | None = None) -> None:
    """All defects, what is in the file and, when it was looked for, what we test with of it."""
    from flows.terminal import emit, say, tell

    if as_json:
        found = {} if close is None else {"contamination": close.as_json()}
        emit({**report.summary(), **found})
    for defect in report.errors[:SHOWN]:
        tell_defect(f"{defect.message}.", defect.fix, "red")
    if len(report.errors) > SHOWN:
        say(f"... and {len(report.errors) - SHOWN} more (all with --json)", "red")
    for warning in report.warnings[:SHOWN]:
        tell_defect(f"Warning: {warning.message}.", warning.fix, "yellow")
    for note in report.notes:
        tell_defect(f"Note: {note.message}.", note.fix, "dim")
    if as_json:
        return
    verdict = "valid" if report.valid else f"INVALID: {count(len(report.errors), 'defect')}"
    exact = "" if report.tokens_exact else " (approximate: base model not prepared)"
    tell(
        f"{report.name}: {verdict}. {count(report.conversations, 'conversation')}, "
        f"{count(report.pairs, 'pair')}, {report.supervised_pairs:,} supervised, "
        f"{report.tokens:,} tokens{exact}, {report.supervised_tokens:,} supervised; "
        f"longest {report.longest:,}"
    )
    if close is not None:
        tell(close.sentence())
