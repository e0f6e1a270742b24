"""Everything that must be right before jobs can run, looked at in one go: `brightrun doctor`.

Nothing is made, changed or sent (but for an object that is written to each storage and removed).
"""

from __future__ import annotations

from collections.abc import Mapping

from brightrun import doctor_accounts, doctor_machine, doctor_services, doctor_supabase
from brightrun.findings import Check, Finding, examine, hidden, masked

CHECKS: dict[str, Check] = {
    "packages": doctor_machine.packages,
    "disk": doctor_machine.disk,
    "memory": doctor_machine.memory,
    "base model": doctor_machine.models,
    "ledger": doctor_services.ledger,
    "storage": doctor_services.storage,
    "pod storage": doctor_services.pod_storage,
    "runpod": doctor_services.runpod,
    "model hub": doctor_accounts.hub,
    "month": doctor_accounts.month,
    "shares": doctor_accounts.shares,
    "supabase": doctor_supabase.check,
    "row level security": doctor_supabase.rules,
    "people": doctor_machine.people,
    "slack": doctor_services.slack,
    "email": doctor_services.email,
    "webhook": doctor_services.webhook,
}
SENDING: dict[str, Check] = {"messages": doctor_services.deliveries}


def diagnose(
    environ: Mapping[str, str], more: Mapping[str, Check], *, send: bool = False
) -> tuple[Finding, ...]:
    """Settings first: without them nothing else can be asked. more: checks of other floors."""
    secrets = hidden(environ)
    settings, found = doctor_machine.settings_of(environ)
    about = tuple(masked(finding, secrets) for finding in found)
    if settings is None:
        return about
    checks = {**CHECKS, **more, **(SENDING if send else {})}
    return (*about, *examine(checks, settings, secrets))
