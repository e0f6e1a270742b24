"""What the provider offers at this moment: for an estimate, and for every decision of a job."""

from __future__ import annotations

from collections.abc import Callable

from brightrun.clock import Clock
from brightrun.compute import provider_of
from brightrun.errors import CapacityError, ConfigurationError, ProviderError
from brightrun.jobs import Market
from brightrun.prices import NOT_ASKED, Live, Price, gpu_name, listed
from brightrun.settings import Settings

FRESH_SECONDS = 60.0


def live_prices(provider: str, settings: Settings) -> Live:
    """Offers of all markets, asked once and never waited for long; without an answer the reason,
    so that the table can be labelled."""
    try:
        rents = provider_of(provider, settings, patient=False)
        return Live(offers=rents.offers(settings.processes))
    except (ConfigurationError, ProviderError) as error:
        return Live(silent=error.message)


class LivePrices:
    """A job's provider as it answered within the last minute: deciding asks again and again."""

    def __init__(self, ask: Callable[[], Live], clock: Clock) -> None:
        self.ask, self.clock = ask, clock
        self.answer, self.at = NOT_ASKED, -FRESH_SECONDS

    def now(self) -> Live:
        """`silent` says why there are no offers."""
        if self.clock.monotonic() - self.at >= FRESH_SECONDS or not self.answer.offers:
            try:
                self.answer = self.ask()
            except (CapacityError, ConfigurationError, ProviderError) as error:
                self.answer = Live(silent=error.message)
            self.at = self.clock.monotonic()
        return self.answer

    def forget(self) -> None:
        """Ask again at the next decision: what was offered could not be had."""
        self.answer = NOT_ASKED


def by_market(live: Live, provider: str, gpu: str, count: int) -> dict[Market, Price | None]:
    """The best live price of a pod on each market, None where it has no such GPU now.

    {}: nothing is known live, the estimate's prices stand.
    """
    name = gpu_name(gpu, provider)
    found = {market: listed(live.offers, name, market, count) for market in Market}
    return found if any(price is not None for price in found.values()) else {}
