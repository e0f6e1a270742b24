"""Wait while somebody else is away: the storage, the ledger, or who rents out pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from brightrun.clock import Clock
from brightrun.errors import BrightRunError, LedgerAway, StorageError
from brightrun.recovery import pause_after
from brightrun.storagefaults import classify, is_outage, told_by_storage

Answer = TypeVar("Answer")


def waited_out(
    clock: Clock,
    ask: Callable[[], Answer],
    away: Callable[[Exception], bool] | None = None,
    *,
    on_begin: Callable[[Exception], None] = lambda error: None,
    on_end: Callable[[Exception, float], None] = lambda error, seconds: None,
) -> Answer:
    """The answer of `ask`, which may run several times.

    away: whether an exception is worth waiting for; by default a storage or ledger that is away.
    10 minutes after the first of them the last one is raised, that of a storage as a StorageError.
    on_begin, on_end: told of the first failure, and of the last one with the seconds of them all.
    """
    is_away = away or storage_is_away
    began, failures = 0.0, 0
    fault: Exception | None = None
    while True:
        try:
            found = ask()
        except Exception as error:
            if not is_away(error):
                raise
            if fault is None:
                began = clock.monotonic()
                unless_away(on_begin, error)
            fault, failures = error, failures + 1
            pause = pause_after(failures, clock.monotonic() - began)
            if pause is None:
                raise stated(error) from error
            clock.sleep(pause)
        else:
            if fault is not None:
                unless_away(on_end, fault, clock.monotonic() - began)
            return found


def unless_away(tell: Callable[..., None], *what: Any) -> None:
    """Tell somebody who may use the very thing that is away: then nobody is told."""
    try:
        tell(*what)
    except Exception as error:
        if not is_outage(error):
            raise


def storage_is_away(error: Exception) -> bool:
    """The ledger's server counts. Full, denied, expired, gone do not: waiting does not mend it."""
    if isinstance(error, LedgerAway):
        return True
    trouble = classify(error)
    return trouble is not None and not trouble.lasting


def stated(error: Exception) -> Exception:
    """A storage library's own exception in words that a person can act on."""
    trouble = classify(error)
    if trouble is None or (isinstance(error, StorageError) and error.fault):
        return error
    return trouble.error("the run folder cannot be used")


def told(error: Exception) -> BrightRunError:
    """What no one foresaw, as an error of the tree; a storage's own exception in its words."""
    if isinstance(error, BrightRunError):
        return error
    if told_by_storage(error) and (trouble := classify(error)) is not None:
        return trouble.error("the run folder cannot be used")
    return BrightRunError(
        f"{type(error).__name__}: {error}",
        cause="a fault of the pipeline itself",
        fix="repeat with `brightrun --debug ...` and report what it prints",
    )
