"""The report says everything in which a quick run is less than a delivery run."""

from __future__ import annotations

import report_jobs

from brightrun.jobs import Preset, preset_of
from reports.collect import cuts

DEMO, FULL = preset_of(Preset.demo).values, preset_of(Preset.balanced).values
LESS = [
    name for name, value in DEMO if isinstance(value, int | float) and value < getattr(FULL, name)
]


def told(**values: object) -> list[str]:
    """What is said of a delivery run with these values, beyond what its small model is told."""
    spec = report_jobs.spec()
    full = spec.model_copy(update={"values": FULL})
    changed = spec.model_copy(update={"values": FULL.model_copy(update=values)})
    return [said for said in cuts(changed) if said not in cuts(full)]


def test_each_field_in_which_the_demo_is_less_is_named_with_what_a_delivery_takes() -> None:
    assert "passes" in LESS
    assert told() == []
    for name in LESS:
        said = told(**{name: getattr(DEMO, name)})
        assert said, f"nothing is said of {name}"
        assert f"{getattr(FULL, name):,}" in said[0], said


def test_the_demo_is_told_all_of_it_and_its_small_model() -> None:
    found = cuts(report_jobs.spec().model_copy(update={"values": DEMO}))
    # Its answers are short: a quick look with long ones makes fewer to check the package by.
    short = {"max_new_tokens": DEMO.max_new_tokens}
    wanted = {said for name in LESS for said in told(**{name: getattr(DEMO, name), **short})}
    assert wanted < set(found)
    assert "Made 1 answer to check the package by; a delivery run makes 3." in told(rotations=1)
    assert not [said for said in found if "to check the package by" in said]
    assert found[-1] == "Trained demo, a small stand-in for Llama 3 70B."
