"""Loading the base model: stored NF4 weights, the choices' reasons, overrides that cannot be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from trainer_jobs import IN_PROCESS, tiny_models

from brightrun import basemodels
from brightrun.errors import ConfigurationError
from brightrun.jobs import Hyperparameters
from brightrun.physics import ModelProfile
from brightrun.runfolder import RunFolder

pytestmark = IN_PROCESS


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` as somebody saved it in NF4, prepared as a base model of its own."""
    from trainer import loading
    from trainer.prepare import prepare

    place = tmp_path_factory.mktemp("stored")
    source = basemodels.prepared_folder("tiny", tiny_models())
    base = loading.load_base(source, "nf4")
    base.model.save_pretrained(place / "tiny-nf4")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, place / "tiny-nf4" / name)
    return prepare(str(place / "tiny-nf4"), place / "models")


def test_a_folder_of_nf4_weights_is_recognised_when_it_is_prepared(stored: Path) -> None:
    plain = basemodels.profile(basemodels.prepared_folder("tiny", tiny_models()))
    found = basemodels.profile(stored)
    assert (found["stored"], plain["stored"]) == ("nf4", "")
    assert found["parameters"] == plain["parameters"]
    assert ModelProfile.of_prepared(found).parameters == plain["parameters"]
    size = sum(file.stat().st_size for file in basemodels.weight_files(stored))
    whole = basemodels.weight_files(basemodels.prepared_folder("tiny", tiny_models()))[0]
    assert size < 0.6 * whole.stat().st_size


def test_stored_nf4_weights_compute_what_quantising_while_loading_computes(
    stored: Path, torch: Any
) -> None:
    from trainer import loading

    fresh = loading.load_base(basemodels.prepared_folder("tiny", tiny_models()), "nf4")
    again = loading.load_base(stored, "nf4")
    assert any("files hold NF4 weights" in reason for reason in again.reasons)
    layers = loading.quantised_layers(again.model)
    assert len(layers) == 28
    assert {layer.compute_dtype for layer in layers.values()} == {again.dtype}
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers.values())
    assert not any(parameter.requires_grad for parameter in again.model.parameters())
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.equal(again.model(ids).logits, fresh.model(ids).logits)


def test_stored_nf4_weights_are_not_trained_as_something_else(stored: Path) -> None:
    from trainer import loading

    with pytest.raises(ConfigurationError, match="files hold NF4 weights"):
        loading.load_base(stored, "bf16")


def test_files_that_are_not_what_their_config_says_are_refused(
    stored: Path, tmp_path: Path, torch: Any
) -> None:
    from trainer import loading

    plain = basemodels.prepared_folder("tiny", tiny_models())
    wrong = tmp_path / "wrong"
    shutil.copytree(plain, wrong)
    config = json.loads((plain / "config.json").read_bytes())
    config["quantization_config"] = json.loads((stored / "config.json").read_bytes())[
        "quantization_config"
    ]
    (wrong / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="is stored as unpacked"):
        loading.load_base(wrong, "nf4")
    base = loading.load_base(stored, "nf4")
    next(iter(loading.quantised_layers(base.model).values())).weight.quant_state.quant_type = "fp4"
    with pytest.raises(ConfigurationError, match="is stored as fp4"):
        loading.compute_in(base.model, torch.float32)


def test_dimensions_that_the_cpu_kernels_refuse_are_told_before_training(torch: Any) -> None:
    import bitsandbytes as bnb

    from trainer import loading

    model = torch.nn.Sequential(bnb.nn.Linear4bit(128, 64), bnb.nn.Linear4bit(64, 100))
    with pytest.raises(ConfigurationError, match="1 is 64 x 100") as error:
        loading.close_traps(model, "cpu")
    assert (error.value.fault, error.value.fix) == ("model_dimensions", "use --set precision=bf16")
    assert loading.close_traps(model, "cuda") == []


def test_an_adapter_of_another_rank_is_refused_with_its_shapes(tmp_path: Path) -> None:
    """Its config says r 8, its tensors have r 4: what a mixed-up download looks like."""
    from peft import LoraConfig, get_peft_model

    from trainer import finalize, loading
    from trainer.attempt import Attempt
    from trainer.failures import explain

    def base() -> Any:
        return loading.load_base(basemodels.prepared_folder("tiny", tiny_models()), "fp32")

    small = get_peft_model(base().model, LoraConfig(r=4, target_modules=["q_proj"]))
    folder = RunFolder((tmp_path / "storage").as_uri(), "job-1")
    small.save_pretrained(str(tmp_path / "made"))
    config = tmp_path / "made" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "r": 8}))
    finalize.upload_adapter(tmp_path / "made", "tiny", folder, {"step": 1})
    missing = cast(Any, None)
    attempt = Attempt(missing, cast(Any, folder), missing, missing, tmp_path, group=missing)
    with pytest.raises(RuntimeError) as error:
        attempt.load_adapter(base())
    found = explain(error.value, None, "training")
    assert found.fault == "adapter_incompatible"
    assert re.search(r"size mismatch for .*q_proj\.lora_A", found.message)
    assert "torch.Size([4, 256])" in found.message
    assert "torch.Size([8, 256])" in found.message
    assert "docs/errors.md#adapter-incompatible" in str(found)


def test_every_choice_is_told_with_its_reason() -> None:
    from trainer import hardware, loading

    folder = basemodels.prepared_folder("tiny", tiny_models())
    profile = basemodels.profile(folder)
    values = Hyperparameters(precision="fp32")
    made = loading.decide(
        hardware.place(), folder, profile, values, 100, "paged_adamw_32bit", {"attention": "eager"}
    )
    base = loading.load_base(folder, "fp32", made)
    assert "attention eager: set by BRIGHTRUN_CHOICES" in base.reasons
    assert base.model.config._attn_implementation == "eager"
    assert made.optimizer.value == "paged_adamw_32bit"
    with pytest.raises(ConfigurationError, match="names 'speed'"):
        loading.decide(
            hardware.place(), folder, profile, values, 100, "paged_adamw_32bit", {"speed": "high"}
        )


def test_a_checkpoint_is_resumed_with_the_optimizer_it_was_made_with(
    torch: Any, tmp_path: Path
) -> None:
    import bitsandbytes as bnb

    from trainer import optimizers
    from trainer.wishes import Choice

    made = {
        "paged_adamw_32bit": lambda p: bnb.optim.AdamW32bit([p]),
        "adamw_torch_fused": lambda p: torch.optim.AdamW([p], fused=True),
    }
    for name, make in made.items():
        weight = torch.nn.Parameter(torch.ones(64, 64))
        optimizer = make(weight)
        weight.sum().backward()
        optimizer.step()
        torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
        for wanted in made:
            choice: Choice[Any] = Choice(wanted, "chosen here")
            assert optimizers.settled(choice, tmp_path).value == name
            assert optimizers.settled(choice, None) is choice


def test_the_repacking_of_other_cpus_is_switched_off_before_the_first_forward() -> None:
    from trainer import loading

    folder = basemodels.prepared_folder("tiny", tiny_models())
    model = loading.load_base(folder, "nf4").model
    layers = loading.quantised_layers(model).values()
    for layer in layers:
        # As bitsandbytes sets it on a CPU with avx512_bf16.
        layer.support_avx512bf16_for_cpu = True
    assert loading.close_traps(model, "cuda") == []
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
