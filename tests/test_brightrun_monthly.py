"""Volume and storage: shares of monthly bills, beside a job's cost and never in it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from test_brightrun_losses import rented
from test_brightrun_restarts import at, event

from brightrun.bill import bill
from brightrun.monthly import Monthly, beside
from brightrun.settings import Settings

PRICES = Monthly(volume=Decimal("0.073"), storage=Decimal("0.0365"))
HOUR = 3600.0


def test_each_is_gigabytes_times_hours_of_a_month_at_its_price() -> None:
    pods = [rented(1, 0, HOUR, "lost:x"), rented(2, HOUR, 10 * HOUR, "done")]
    said = [event(0, 0, "choice", volume_gb=200.0), event(0, 5, "choice", message="other")]
    said += [event(1, HOUR / 2, "checkpoint", step=n, bytes=10**9) for n in range(6)]
    volume, storage = beside(pods, said, at(20.5 * HOUR), PRICES)
    assert (volume.name, volume.usd, volume.seconds) == ("volume", Decimal("0.2"), 10 * HOUR)
    # Four checkpoints are kept, from the first of them on.
    assert (storage.name, storage.usd, storage.seconds) == ("storage", Decimal("0.004"), 20 * HOUR)
    assert "200.0 GB for 10.00 h at $0.073 per GB and month" in volume.basis
    whole = bill(pods, said, at(20.5 * HOUR))
    assert whole.usd == sum(line.usd for line in whole.lines)


def test_what_costs_nothing_has_no_line(tmp_path: Path) -> None:
    pods = [rented(1, 0, HOUR, "done")]
    saved = [event(1, 9, "checkpoint", step=1, bytes=10**9)]
    here = Monthly.of(Settings(home=tmp_path))
    assert beside(pods, saved, at(HOUR), here) == ()
    away = Monthly.of(Settings(home=tmp_path, storage_url="s3://bucket"))
    assert [line.name for line in beside(pods, saved, at(1000 * HOUR), away)] == ["storage"]
