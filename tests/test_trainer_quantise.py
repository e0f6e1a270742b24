"""NF4 copies on a volume: what one computes, and that no pod loads another than its job names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from trainer_jobs import IN_PROCESS, tiny_models

from brightrun import basemodels
from brightrun.errors import ConfigurationError
from brightrun.physics import ModelProfile
from brightrun.runfolder import sha256_file
from brightrun.specs import BaseModelRef, QuantisedCopy

pytestmark = IN_PROCESS
FOLDER = "tiny--nf4-cpu"


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache with `tiny` and the copy that a pod has made of it."""
    from trainer import loading, quantise

    models = tmp_path_factory.mktemp("volume") / "models"
    shutil.copytree(tiny_models(), models)
    source = basemodels.prepared_folder("tiny", models)
    base = loading.load_base(source, "nf4")
    quantise.write(base.model, source, models / FOLDER, basemodels.resolve("tiny", models))
    return models


def named(models: Path, folder: str = FOLDER, **changed: str) -> BaseModelRef:
    """`tiny` as a job names it that takes the copy."""
    found = {"folder": folder, "manifest_sha256": sha256_file(models / FOLDER / "manifest.json")}
    copy = QuantisedCopy.model_validate({**found, **changed})
    return basemodels.resolve("tiny", models).model_copy(update={"quantised": copy})


def loaded_by(model: BaseModelRef, models: Path) -> Path:
    """What a pod does before it loads."""
    from trainer import fetching

    folder = fetching.prepared(model, models, lambda process: ("", 1))
    basemodels.verify_weights(folder)
    return folder


def test_a_copy_computes_and_learns_what_quantising_while_loading_does(
    volume: Path, torch: Any
) -> None:
    from trainer import loading

    folder = loaded_by(named(volume), volume)
    assert folder == volume / FOLDER
    ids, sides = torch.arange(3, 40)[None], []
    for place in (folder, volume / "tiny"):
        base = loading.load_base(place, "nf4")
        with torch.no_grad():
            before = base.model(ids).logits
        table = base.model.get_input_embeddings().weight.requires_grad_(True)
        base.model(ids, labels=ids).loss.backward()
        sides.append((before, table.grad.clone(), base.reasons))
    (logits, gradient, reasons), (anew, its_gradient, other) = sides
    assert torch.equal(logits, anew)
    assert torch.equal(gradient, its_gradient)
    assert any(reason.startswith("weights stored nf4") for reason in reasons)
    assert any(reason.startswith("weights quantised while loading") for reason in other)


def test_a_copy_is_a_prepared_model_that_says_what_it_was_made_of(volume: Path) -> None:
    found, plain = (basemodels.profile(volume / name) for name in (FOLDER, "tiny"))
    assert (found["stored"], found["made_of"]["sha256"]) == ("nf4", plain["sha256"])
    assert found["sha256"] != plain["sha256"]
    assert ModelProfile.of_prepared(found) == ModelProfile.of_prepared(plain)
    sizes = [
        sum(f.stat().st_size for f in basemodels.weight_files(volume / n)) for n in (FOLDER, "tiny")
    ]
    assert sizes[0] < 0.6 * sizes[1]
    manifest = json.loads((volume / FOLDER / "manifest.json").read_bytes())
    assert set(manifest["files"]) >= {"config.json", "tokenizer.json", "prepared.json"}
    assert {"bitsandbytes", "torch"} <= set(manifest["versions"])
    assert manifest["made_on"]["device"] == "cpu"


@pytest.fixture
def spoiled(volume: Path, tmp_path: Path) -> Path:
    """A volume of the test's own, to damage."""
    return Path(shutil.copytree(volume, tmp_path / "models"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_copy_is_refused_and_made_again(spoiled: Path, volume: Path, name: str) -> None:
    from trainer import quantise

    model, folder = named(volume), spoiled / FOLDER
    made_of = model.model_copy(update={"quantised": None})
    assert quantise.is_complete(folder, made_of)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ConfigurationError) as error:
        loaded_by(model, spoiled)
    assert error.value.fault == "model_changed"
    assert not quantise.is_complete(folder, made_of)


def test_a_copy_that_is_another_or_not_there_is_refused_with_the_way_out(
    spoiled: Path, volume: Path
) -> None:
    from trainer import quantise

    with pytest.raises(ConfigurationError, match="another manifest") as error:
        loaded_by(named(volume, manifest_sha256="0" * 64), spoiled)
    assert "setup volume" in error.value.fix
    with pytest.raises(ConfigurationError, match="is not on the volume") as error:
        loaded_by(named(volume, folder="elsewhere"), spoiled)
    assert error.value.fault == "model_missing"
    other = named(volume).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ConfigurationError, match="was made of other weights"):
        loaded_by(other, spoiled)
    assert not quantise.is_complete(spoiled / FOLDER, other)


@pytest.mark.filterwarnings("ignore:You passed `quantization_config`")
def test_the_package_s_own_script_answers_the_same_from_a_copy(volume: Path, torch: Any) -> None:
    """A job's golden answers are made from the weights that it has trained on."""
    from transformers import AutoModelForCausalLM

    from trainer import inference

    # Packages compute as the pod did; a copy computes in the format that it was made in.
    dtype = json.loads((volume / FOLDER / "config.json").read_bytes())["dtype"]
    settings = {"compute_dtype": dtype}
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        logits, anew = (
            AutoModelForCausalLM.from_pretrained(
                str(volume / name), quantization_config=inference.nf4_config(settings),
                dtype=getattr(torch, dtype),
            )(ids).logits
            for name in (FOLDER, "tiny")
        )  # fmt: skip
    assert torch.equal(logits, anew)


def test_a_pod_takes_no_other_weights_than_its_spec_names(volume: Path) -> None:
    from trainer import hardware, loading
    from trainer.overrides import checked
    from trainer.wishes import Wish

    place = hardware.place()
    stored = Wish("nf4", 8, 100, True, "", "llama", stored_nf4=True)
    plain = Wish("nf4", 8, 100, True, "", "llama")
    kinds = ("stored nf4", "quantised while loading")
    for wish, fits, fails in ((stored, *kinds), (plain, *reversed(kinds))):
        assert checked({"weights": fits}, place, wish) == {"weights": fits}
        with pytest.raises(ConfigurationError, match="cannot be here"):
            checked({"weights": fails}, place, wish)
    bf16 = Wish("bf16", 8, 100, True, "", "llama")
    assert checked({"weights": kinds[1]}, place, bf16) == {"weights": kinds[1]}
    assert loading.load_base(volume / FOLDER, "nf4").choices.weights.value == "stored nf4"
