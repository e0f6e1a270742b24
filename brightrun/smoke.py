"""The smoke test of a provider: the whole path on two conversations and two steps, capped. Pure.

It keeps what decides whether the real job fits (model, rank, length, precision) and cuts what only
takes time, so what passes here has rented, booted, loaded, trained, saved, measured and packaged.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from brightrun.conversations import FileReport, RowFacts
from brightrun.errors import BudgetError
from brightrun.ledger import Ledger, Status
from brightrun.money import shown

TRAINED, HELD_OUT = 2, 1


def sample(report: FileReport) -> FileReport:
    """The report of a file as if it held only the three longest conversations: memory is tried too.

    Two are trained on and one is held out. Those that would be split are taken
    last.
    """
    usable = [row for row in report.rows if row.supervised_pairs]
    usable.sort(key=lambda row: (bool(row.parts), -row.tokens, row.index))
    rows = tuple(sorted(usable[: TRAINED + HELD_OUT], key=lambda row: row.index))
    return report.model_copy(
        update={
            "rows": rows,
            "conversations": len(rows),
            "pairs": sum(row.pairs for row in rows),
            "supervised_pairs": sum(row.supervised_pairs for row in rows),
            "tokens": sum(row.tokens for row in rows),
            "supervised_tokens": sum(row.supervised_tokens for row in rows),
            "longest": max((max(row.sequences) for row in rows), default=0),
            "arcs": counted(rows, "arc"),
            "personas": counted(rows, "persona"),
        }
    )


def counted(rows: Iterable[RowFacts], field: str) -> dict[str, int]:
    """Conversations by arc or persona, the most frequent first."""
    found: dict[str, int] = {}
    for row in rows:
        name = str(getattr(row, field))
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def affordable(likely: Decimal, most: Decimal) -> None:
    """BudgetError when the cap would end the test before its end."""
    if likely > most:
        raise BudgetError(
            f"the smoke test will likely cost {shown(likely)}, its cap is {shown(most)}",
            cause="the price is high, or the base model is not on the volume yet and loads slowly",
            fix="choose a cheaper --gpu or --market, or raise BRIGHTRUN_SMOKE_LIMIT_USD knowingly",
        )


def advice(ledger: Ledger, provider: str, most: Decimal) -> str:
    """What is said until a first job has completed at a provider that sends invoices; "" after."""
    if provider == "local" or ledger.jobs(1, status=Status.completed, provider=provider):
        return ""
    return (
        f"no job has completed on {provider} yet: `brightrun train --smoke` (the form's field "
        f"Smoke test) tries the whole path first, for at most {shown(most)}"
    )
