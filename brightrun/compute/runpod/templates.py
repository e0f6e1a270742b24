"""The account's pod template: the trainer image as jobs rent it, for a pod started by hand.

Jobs do not use it: they name image and settings themselves, so that nobody's edit in the console
changes a job. It is found by its name, made once, and brought up to date when the image changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.pods import MODELS_VARIABLE, Place
from brightrun.compute.runpod.problems import to_mend
from brightrun.errors import ConfigurationError

PATH, NAME = "/v2/templates", "brightrun-trainer"


def wanted(place: Place) -> dict[str, Any]:
    """CreateTemplateRequest of the contract; no secret, no open port, nothing public."""
    return {
        "name": NAME,
        "image": place.image,
        "args": place.args,
        "disk": place.disk_gb,
        "ports": [],
        "env": {MODELS_VARIABLE: place.models},
        "registry": place.registry or None,
        "public": False,
        "serverless": False,
        "startSsh": False,
        "startJupyter": False,
        "category": "NVIDIA",
    }


def found(rest: Client) -> Mapping[str, Any] | None:
    """ConfigurationError: several have the name."""
    same = [one for one in rest.listed(PATH, "templates") if one.get("name") == NAME]
    if len(same) > 1:
        raise ConfigurationError(
            f"{len(same)} templates are called {NAME!r}",
            fix="delete all but one in RunPod's console",
        )
    return same[0] if same else None


def lacks(rest: Client, place: Place) -> str:
    """What `make` would do; "" when the template is as it should be."""
    there = found(rest)
    if there is None:
        return f"make template {NAME!r} with {place.image}"
    other = sorted(name for name, value in wanted(place).items() if there.get(name) != value)
    return f"set {', '.join(other)} of template {NAME!r}" if other else ""


def make(rest: Client, place: Place) -> None:
    """A create whose answer was lost is found by the next call: templates cost nothing."""
    there = found(rest)
    with to_mend():
        if there is None:
            rest.create(PATH, wanted(place))
        else:
            rest.change(f"{PATH}/{there['id']}", wanted(place))
