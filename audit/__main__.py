"""`python -m audit`: secrets, licences, known holes; exit 1 when one failed.

What could not be looked at is told as "not checked": it neither passes nor fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

from audit import advisories, credentials, licences

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Prints one line for each look, and one for each fault."""
    looks = (
        credentials.look(ROOT),
        licences.look(),
        advisories.look(ROOT, ROOT / ".brightrun" / "audit"),
    )
    for found in looks:
        sys.stdout.write(f"{found.state + ':':<13}{found.what}: {found.said}\n")
        sys.stdout.writelines(f"  {line}\n" for line in found.faults)
    return 1 if any(found.state == "fail" for found in looks) else 0


if __name__ == "__main__":
    sys.exit(main())
