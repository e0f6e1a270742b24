"""The facts of a training file as one table, for the report and the Prefect artifact."""

from __future__ import annotations

from statistics import median

from brightrun.conversations import FileReport
from brightrun.verdicts import Table


def dataset_tables(report: FileReport) -> Table:
    """Two columns, fact and value; tokens are of the whole file, one sequence per conversation or
    part: what is held out is not taken off."""
    about = "" if report.tokens_exact else " (about: characters / 4.66)"
    used = [row for row in report.rows if row.supervised_pairs]
    split = [row for row in report.rows if len(row.parts) > 1]
    share = report.supervised_tokens / report.tokens if report.tokens else None
    rows: list[tuple[str, str | int | float | None]] = [
        ("File", report.path.name),
        ("Format", report.format),
        ("SHA-256", report.sha256),
        ("Valid", "yes" if report.valid else "no"),
        ("Conversations", report.conversations),
        ("Conversations with an answer to train on", len(used)),
        ("Training pairs in the file", report.pairs),
        ("Supervised pairs", report.supervised_pairs),
        (f"Tokens in the file{about}", report.tokens),
        (f"Supervised tokens in the file{about}", report.supervised_tokens),
        ("Supervised share of the tokens", None if share is None else round(share, 4)),
        (f"Longest sequence, tokens{about}", report.longest),
        ("Median conversation, tokens", round(median(r.tokens for r in used)) if used else None),
        ("Errors", len(report.errors)),
        ("Warnings", len(report.warnings)),
    ]
    if split:
        rows += [
            ("Conversations split at turn boundaries", len(split)),
            ("Parts made of them", sum(len(row.parts) for row in split)),
            (f"Tokens added by their system prompts{about}", sum(r.added_tokens for r in split)),
        ]
    rows += [(f"Arc {name}", count) for name, count in _largest_first(report.arcs)]
    rows += [(f"Persona {name}", count) for name, count in _largest_first(report.personas)]
    return Table(columns=("Fact", "Value"), rows=tuple(rows), caption="The training file")


def _largest_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
