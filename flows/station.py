"""A machine of a team that works: it takes runs of BRIGHTRUN_PREFECT_URL's server, until Ctrl-C.

Several of them share a server, a ledger (DATABASE_URL) and a storage (STORAGE_URL). What one leaves
behind, killed or stopped, another goes on with. Run: `python -m flows.station`.
"""

from __future__ import annotations

import os
import secrets

from brightrun.errors import ConfigurationError
from brightrun.ledger import Ledger
from brightrun.settings import Settings, load
from flows import server, tending
from flows.terminal import say


def up(settings: Settings) -> None:
    """ConfigurationError: no server is named, or it does not answer."""
    if not settings.prefect_url:
        raise ConfigurationError(
            "a station needs to know its Prefect server",
            fix="set BRIGHTRUN_PREFECT_URL=http://HOST:4200/api, or use `make ui` on one machine",
        )
    url = server.shared_url(settings)
    if url is None:
        raise ConfigurationError(
            f"no Prefect server answers at {settings.prefect_url}",
            fix="start it, or mend the address (it ends with /api)",
        )
    Ledger.open(settings)
    server.isolate(settings)
    os.environ.update(PREFECT_API_URL=url, BRIGHTRUN_HOME=str(settings.home.resolve()))
    say(f"Working for {url}, {settings.worker_runs} runs at once. Ctrl-C hands them over.", "bold")
    tending.tend(settings, url, f"{os.getpid()}-{secrets.token_hex(4)}", hands_over=True)


def main() -> None:
    tending.until_stopped(
        lambda: up(load()),
        "Stopped. Another station goes on with its jobs, or this one when it is started again.",
    )


if __name__ == "__main__":
    main()
