"""The services (schedules, automations, leases) of a team's Prefect server, as one process.

Run: `python -m flows.services`, with the server's own settings (docs/team.md).
"""

from __future__ import annotations

import sys

from flows import scheduling


def main() -> None:
    sys.argv = ["prefect", "server", "services", "start"]
    from prefect.cli import app

    scheduling.mend()
    app()


if __name__ == "__main__":
    main()
