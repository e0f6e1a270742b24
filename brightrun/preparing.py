"""Make a base model's folder of what lies here; the trainer does it, as its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from brightrun import basemodels
from brightrun.errors import BrightRunError, ConfigurationError, from_dict
from brightrun.settings import CHECKOUT


def prepare_offline(name: str, models: Path) -> None:
    """Once per machine; writes nothing but the cache `models`.

    ConfigurationError: it is not here, and only `make setup` and the prepare command fetch.
    """
    if basemodels.is_prepared(name, models):
        return
    command = [sys.executable, "-m", "trainer", "prepare", name, "--models", str(models)]
    done = subprocess.run(
        [*command, "--offline"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise preparation_error(name, done.stderr)


def preparation_error(name: str, stderr: str) -> BrightRunError:
    """The trainer prints its error as one JSON object on the last line."""
    last = stderr.strip().splitlines()[-1] if stderr.strip() else ""
    try:
        return from_dict(json.loads(last))
    except (json.JSONDecodeError, TypeError):
        if "ModuleNotFoundError" in last:
            return ConfigurationError(
                f"the base model {name!r} is not prepared, and this machine cannot prepare it",
                cause=f"the trainer's packages are not installed here: {last}",
                fix="copy its prepared folder here without the weights (docs/runpod.md), or "
                "install them: pip install -c constraints.txt -e '.[trainer]'",
                fault="model_missing",
            )
        return ConfigurationError(
            f"the base model {name!r} could not be prepared: {last}",
            fix=f"run `python -m trainer prepare {name}` to see the whole output",
        )
