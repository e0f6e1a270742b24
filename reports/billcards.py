"""The ledger against a provider's bill, in words and as a card."""

from __future__ import annotations

from brightrun.counting import count
from brightrun.reconciling import Difference, Reconciliation
from brightrun.verdicts import Table
from reports import cards, formats


def headline(found: Reconciliation) -> str:
    """`runpod since 2026-11-15: billed $12.34, ledger $12.31: $0.03 more than the ledger`."""
    apart = found.difference_usd
    word = "notional bill" if found.notional else "billed"
    said = (
        f"{found.provider} since {found.since:%Y-%m-%d}, {count(found.pods, 'pod')}: "
        f"{word} {cents(found.billed_usd)}, ledger {cents(found.ledger_usd)}"
    )
    if not found.differences:
        return f"{said}: the same, pod by pod"
    more = "more" if apart >= 0 else "less"
    said += f": {cents(abs(apart))} {more} than the ledger"
    if found.alarms:
        said += f"; {count(len(found.alarms), 'ALARM')}"
    return said


def cents(usd: object) -> str:
    return f"${float(str(usd)):,.4f}"


def sentence(pod: Difference) -> str:
    """One pod's difference with its reason."""
    whose = f" (job {pod.job_id}, attempt {pod.attempt})" if pod.job_id else ""
    sign = "+" if pod.difference_usd > 0 else "\u2212"
    alarm = "ALARM: " if pod.alarm else ""
    return (
        f"{alarm}{pod.pod_name or pod.pod_id}{whose}: {sign}{cents(abs(pod.difference_usd))}: "
        f"{pod.reason}"
    )


def beside(found: Reconciliation) -> list[str]:
    """What the table leaves out: differences below a cent, pods of others."""
    small = [d for d in found.differences if d not in found.worth_telling]
    said = []
    if small:
        total = sum((d.difference_usd for d in small), start=found.billed_usd * 0)
        sign = "+" if total > 0 else "\u2212"
        said.append(
            f"{count(len(small), 'pod')} differ by less than half a cent each, "
            f"{sign}{cents(abs(total))} together: {reasons(small)}"
        )
    if found.others:
        said.append(
            f"{count(found.others, 'pod')} on the bill of others, or gone without a name: "
            f"{cents(found.others_usd)}, not compared"
        )
    return said


def reasons(pods: list[Difference]) -> str:
    """The kinds of reason, each once: what stands before the colon."""
    return ", ".join(dict.fromkeys(pod.reason.partition(":")[0] for pod in pods))


def rows(found: Reconciliation) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            pod.pod_name or pod.pod_id,
            pod.job_id or formats.NONE,
            cents(pod.billed_usd),
            cents(pod.ledger_usd),
            ("+" if pod.difference_usd > 0 else "\u2212") + cents(abs(pod.difference_usd)),
            ("ALARM: " if pod.alarm else "") + pod.reason,
        )
        for pod in found.worth_telling
    )


COLUMNS = ("Pod", "Job", "Billed", "Ledger", "Difference", "Probable reason")


def card(found: Reconciliation) -> str:
    """Markdown for the Prefect UI."""
    lines = "".join(f"- {cards.text(line)}\n" for line in (headline(found), *beside(found)))
    shown = rows(found)
    table = cards.table(Table(columns=COLUMNS, rows=shown)) if shown else ""
    return f"## Ledger against the bill\n\n{lines}\n{table}"
