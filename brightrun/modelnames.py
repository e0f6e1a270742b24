"""The models of a measurement: baseline and trained always, other adapters beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from brightrun.errors import UsageError

BASELINE, TRAINED = "baseline", "trained"
MODELS = (BASELINE, TRAINED)
MOST = 8
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
# PEFT's own name of the job's adapter, and the side that people wrote.
TAKEN = ("default", "gold")


def all_models(others: Iterable[str]) -> tuple[str, ...]:
    """baseline, trained and the others in order; UsageError names what is no model's name."""
    names = (*MODELS, *others)
    for name in names[2:]:
        if not NAME.fullmatch(name) or name in TAKEN:
            raise UsageError(
                f"{name!r} cannot be a model's name",
                fix="use a-z, 0-9 and _, beginning with a letter, up to 31; not "
                f"{' or '.join(TAKEN)}",
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} names two models", fix="give each its own name")
    if len(names) > MOST:
        raise UsageError(f"{len(names)} models to compare", fix=f"at most {MOST}")
    return names
