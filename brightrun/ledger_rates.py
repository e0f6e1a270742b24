"""How often rented pods were taken away, market by market. Use it through `Ledger`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import select

from brightrun.jobs import Market
from brightrun.ledger_attempts import row_of
from brightrun.ledger_rows import AttemptRow
from brightrun.ledger_schema import attempts as table
from brightrun.ledger_store import Database
from brightrun.markets import Rate, hourly_rate
from brightrun.outcomes import Ending, ending

# Markets change: older pods say little of today's.
SEEN_FOR = timedelta(days=90)


def interruption_rates(db: Database, provider: str, now: datetime) -> dict[Market, Rate]:
    """Of every market, the prior and what this provider's pods of the last 90 days add to it."""
    recent = (table.c.provider == provider) & (table.c.launched_at >= now - SEEN_FOR)
    with db.read() as c:
        rows = [row_of(found) for found in c.execute(select(table).where(recent))]
    return rates_of(rows, now)


def rates_of(rows: Iterable[AttemptRow], now: datetime) -> dict[Market, Rate]:
    """Pure. A pod that never worked says nothing of interruptions; a stop that was wanted, or that
    the pod made because nobody drove it, adds its hours only."""
    losses, hours = dict.fromkeys(Market, 0), dict.fromkeys(Market, 0.0)
    for row in rows:
        how = ending(row.outcome)
        if row.market not in set(Market) or how in (Ending.missed, Ending.unbooted):
            continue
        market, lived = Market(row.market), (row.ended_at or now) - row.launched_at
        hours[market] += max(0.0, lived.total_seconds() / 3600)
        losses[market] += how == Ending.taken
    return {market: hourly_rate(market, losses[market], hours[market]) for market in Market}
