"""A person's wish, the frozen spec and the presets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from brightrun.errors import ConfigurationError
from brightrun.jobs import (
    PRESETS,
    SETTABLE,
    BaseModelRef,
    DataRef,
    Hyperparameters,
    JobRequest,
    JobSpec,
    Preset,
    apply_overrides,
    preset_of,
)  # fmt: skip
from brightrun.presets import preset_help


def spec(**values: object) -> JobSpec:
    data = DataRef(
        name="file", source_sha256="a", train_sha256="b", validation_sha256="c",
        train_conversations=10, validation_conversations=2, supervised_pairs=37,
        train_tokens=1000, supervised_tokens=400,
    )  # fmt: skip
    base = BaseModelRef(name="tiny", context=8192, template="chatml")
    known = Hyperparameters.model_validate(values)
    return JobSpec(base_model=base, data=data, values=known, plan_sha256="p", threads=2)


def test_equal_specs_have_equal_hashes_and_any_value_changes_it() -> None:
    assert spec().spec_hash() == spec().spec_hash()
    hashes = {spec(**{k: v}).spec_hash() for k, v in (("epochs", 1), ("seed", 7), ("lora_r", 8))}
    assert len({spec().spec_hash(), *hashes}) == 4


def test_a_spec_survives_json() -> None:
    again = JobSpec.model_validate_json(spec(learning_rate=3e-4).model_dump_json())
    assert again.spec_hash() == spec(learning_rate=3e-4).spec_hash()


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        JobRequest.model_validate({"training_file": "x", "epoch": 3})


def test_the_presets_are_the_users() -> None:
    rows = {
        name: (v.lora_r, v.lora_alpha, v.lora_dropout, v.learning_rate, v.epochs)
        for name, v in ((n, PRESETS[n].values) for n in Preset)
    }
    assert rows[Preset.conservative] == (8, 16, 0.05, 1e-4, 2)
    assert rows[Preset.balanced] == (16, 32, 0.05, 2e-4, 3)
    assert rows[Preset.aggressive] == (32, 64, 0.1, 3e-4, 4)


def test_an_override_wins_over_the_preset_and_text_is_parsed() -> None:
    values = apply_overrides(preset_of("balanced").values, {"epochs": "1", "packing": "true"})
    assert (values.epochs, values.packing, values.lora_r) == (1, True, 16)
    assert preset_of("balanced").values.packing is None  # the pod decides


def test_all_bad_overrides_are_told_at_once() -> None:
    base = preset_of("balanced").values
    with pytest.raises(ConfigurationError, match=r"epochs = '99'.*seed = 'x'"):
        apply_overrides(base, {"epochs": "99", "seed": "x"})
    with pytest.raises(ConfigurationError, match="cannot set colour, model"):
        apply_overrides(base, {"model": "x", "colour": "red"})
    with pytest.raises(ConfigurationError, match="conservative, balanced"):
        preset_of("bold")


def test_a_request_lays_its_overrides_over_its_preset() -> None:
    request = JobRequest.model_validate(
        {"training_file": "x", "preset": "demo", "overrides": {"epochs": 5}}
    )
    assert request.values == PRESETS[Preset.demo].values.model_copy(update={"epochs": 5})


def test_every_settable_field_is_on_the_form_with_its_description() -> None:
    fields = JobRequest.model_json_schema()["$defs"]["Overrides"]["properties"]
    assert set(fields) == set(SETTABLE)
    assert all(field["description"] for field in fields.values())


@given(
    st.integers(1, 20), st.integers(1, 512), st.integers(1, 500), st.integers(1, 5000),
    st.sampled_from(["conversation", "pair"]),
)  # fmt: skip
def test_steps_cover_every_sequence_once_an_epoch(
    epochs: int, per_step: int, conversations: int, extra: int, sequence: str
) -> None:
    known = spec(epochs=epochs, pairs_per_step=per_step, sequence=sequence)
    counts = {"train_conversations": conversations, "supervised_pairs": conversations + extra}
    whole = known.model_copy(update={"data": known.data.model_copy(update=counts)})
    rows = conversations if sequence == "conversation" else conversations + extra
    assert whole.conversations_per_step >= 1
    assert (whole.steps_per_epoch - 1) * whole.conversations_per_step < rows
    assert whole.steps_per_epoch * whole.conversations_per_step >= rows
    assert whole.total_steps == epochs * whole.steps_per_epoch


def test_the_form_says_every_range_in_words() -> None:
    """Prefect's form does not show limits: each bound stands in its field's description."""
    for name, field in Hyperparameters.model_fields.items():
        bounds = {
            float(bound)
            for rule in field.metadata
            for kind in ("ge", "gt", "le", "lt")
            if (bound := getattr(rule, kind, None)) is not None
        }
        said = {float(n) for n in re.findall(r"\d+(?:\.\d+)?", field.description or "")}
        assert bounds <= said, name


def test_the_presets_stand_below_each_other() -> None:
    lines = preset_help().split("\n\n")
    assert [line.split("**")[1] for line in lines] == list(Preset)
    assert all(
        line.startswith("- **") and "Risk: " in line and "Expected: " in line for line in lines
    )
