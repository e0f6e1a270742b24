"""What the provider offers at this moment, for an estimate: asked once, never waited for long."""

from __future__ import annotations

from brightrun.compute import provider_of
from brightrun.errors import ConfigurationError, ProviderError
from brightrun.prices import Live
from brightrun.settings import Settings


def live_prices(provider: str, settings: Settings) -> Live:
    """Offers of all markets; without an answer the reason, so that the table can be labelled."""
    try:
        rents = provider_of(provider, settings, patient=False)
        return Live(offers=rents.offers(settings.processes))
    except (ConfigurationError, ProviderError) as error:
        return Live(silent=error.message)
