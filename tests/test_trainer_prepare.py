"""Base models: made once, the same every time, and located errors for what is not there."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from trainer_jobs import FORKS, _prepare, tiny_models

from brightrun import basemodels
from brightrun.errors import ConfigurationError
from brightrun.jobs import BaseModelRef
from brightrun.preparing import preparation_error
from brightrun.runfolder import sha256_file

ROOT = Path(__file__).resolve().parents[1]


def test_tiny_is_the_same_everywhere_and_says_that_it_means_nothing(tmp_path: Path) -> None:
    process = FORKS.Process(target=_prepare, args=(tmp_path,))
    process.start()
    process.join(60)
    one, other = basemodels.resolve("tiny", tmp_path), basemodels.resolve("tiny", tiny_models())
    assert one == other
    assert (one.meaningful, one.template, one.context) == (False, "chatml", 8192)
    folder = basemodels.prepared_folder(one, tmp_path)
    assert one.sha256 == sha256_file(folder / "model.safetensors")
    facts = basemodels.profile(folder)
    assert 3_000_000 < facts["parameters"] < 6_000_000
    shape = facts["architecture"]
    assert all(shape[key] % 64 == 0 for key in ("hidden_size", "intermediate_size"))


def test_what_is_not_prepared_is_named_with_cache_and_command(tmp_path: Path) -> None:
    assert not basemodels.is_prepared("demo", tmp_path)
    for name in ("demo", "meta-llama/Meta-Llama-3-70B-Instruct"):
        with pytest.raises(ConfigurationError) as found:
            basemodels.resolve(name, tmp_path)
        assert str(tmp_path) in found.value.message
        assert f"trainer prepare {name}" in found.value.fix


@pytest.mark.parametrize("name", ["demmo", "../nowhere", "a/b/c", ""])
def test_a_name_that_is_no_model_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no base model"):
        basemodels.key_of(name or "nothing")


def test_a_model_that_is_not_the_pinned_one_is_refused() -> None:
    pinned = BaseModelRef(name="tiny", sha256="0" * 64, context=8192, template="chatml")
    with pytest.raises(ConfigurationError, match="planned with 000000000000"):
        basemodels.prepared_folder(pinned, tiny_models())


def test_a_model_folder_is_prepared_by_its_content(tmp_path: Path) -> None:
    from trainer.prepare import prepare

    own = tmp_path / "own"
    shutil.copytree(tiny_models() / "tiny", own)
    (own / "pytorch_model.bin").write_bytes(b"pickle")
    models = tmp_path / "models"
    folder = prepare(str(own), models)
    assert folder.name == basemodels.key_of(str(own))
    assert basemodels.resolve(str(own), models).sha256 == (
        basemodels.resolve("tiny", tiny_models()).sha256
    )
    assert not (folder / "pytorch_model.bin").exists()
    (own / "config.json").write_text((own / "config.json").read_text() + "\n")
    assert not basemodels.is_prepared(str(own), models)


def test_a_folder_without_safetensors_or_chat_template_is_refused(tmp_path: Path) -> None:
    from trainer.prepare import prepare

    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ConfigurationError, match=r"holds no model\.safetensors"):
        prepare(str(tmp_path / "pickled"), tmp_path / "models")
    plain = tmp_path / "plain"
    shutil.copytree(tiny_models() / "tiny", plain)
    tokenizer = json.loads((plain / "tokenizer.json").read_bytes())
    tokenizer["added_tokens"] = []
    (plain / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigurationError, match="is no special token"):
        prepare(str(plain), tmp_path / "models")
    made = [p for p in (tmp_path / "models").iterdir() if not p.name.endswith(".lock")]
    assert made == []


def test_a_wheel_with_another_model_in_it_is_refused(tmp_path: Path) -> None:
    from trainer import prepare

    (tmp_path / "downloads").mkdir()
    with zipfile.ZipFile(tmp_path / "downloads" / prepare.WHEEL, "w") as wheel:
        wheel.writestr(prepare.GGUF, b"not the model")
    found = hashlib.sha256(b"not the model").hexdigest()[:12]
    with pytest.raises(ConfigurationError, match=found):
        prepare.prepare("demo", tmp_path)
    assert not basemodels.is_prepared("demo", tmp_path)


def test_a_job_fetches_no_model_and_names_the_command_that_does(tmp_path: Path) -> None:
    """Its own error comes through the process between: the message, not the last line of it."""
    command = [sys.executable, "-m", "trainer", "prepare", "demo", "--models", str(tmp_path)]
    done = subprocess.run(
        [*command, "--offline"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    error = preparation_error("demo", done.stderr)
    assert isinstance(error, ConfigurationError)
    assert "'demo' is not prepared" in error.message
    assert "make setup" in error.fix
    assert "python -m trainer prepare demo" in error.fix
    assert not (tmp_path / "downloads").exists()


def test_weights_that_changed_after_they_were_prepared_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_models() / "tiny", folder)
    basemodels.verify_weights(folder)
    basemodels.verify_weights(folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-7] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ConfigurationError, match="prepared were") as found:
        basemodels.verify_weights(folder)
    assert found.value.fault == "model_changed"
