"""The trainer's image: what is in it, who it runs as, what the build script refuses."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brightrun.runfolder import RunFolder
from brightrun.settings import BUILT_IMAGE, built_image
from trainer import health
from trainer.reporter import Reporter

ROOT = Path(__file__).resolve().parents[1]
DEPLOYMENTS = ROOT / "deployments"
DOCKERFILE = (DEPLOYMENTS / "trainer.Dockerfile").read_text()
DIGEST = "sha256:" + "ab" * 32
# Looked for and done without; and a library whose module has another name, absent without a GPU.
OPTIONAL = {"vllm"}
OF_MODULE = {"pynvml": "nvidia-ml-py"}


def module_files() -> dict[str, Path]:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for package in ("trainer", "brightrun")
        for path in (ROOT / package).rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def libraries_of_the_pod() -> set[str]:
    """Top-level modules of others that the trainer's modules, and what these import, name."""
    files = module_files()
    todo, seen, found = [n for n in files if n.startswith("trainer")], set(), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for other in imported(files[name]):
            if other in files:
                todo.append(other)
            else:
                found.add(other.split(".", 1)[0])
    return found - set(sys.stdlib_module_names) - {"trainer", "brightrun"}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_image_has_every_library_that_a_pod_imports_each_with_an_exact_version() -> None:
    lines = (DEPLOYMENTS / "trainer-requirements.txt").read_text().splitlines()
    listed = {normal(line) for line in lines if line and not line.startswith("#")}
    distributions = importlib.metadata.packages_distributions()
    needed = {
        normal(OF_MODULE.get(name) or distributions[name][0])
        for name in libraries_of_the_pod() - OPTIONAL
    }
    assert "torch" in needed
    assert needed - listed == set()
    pinned = {
        normal(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert listed - pinned == set()


def test_every_stage_begins_with_an_image_named_by_digest() -> None:
    bases = dict(re.findall(r"^ARG (\w+_BASE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    stages = re.findall(r"^FROM \$\{(\w+)\}", DOCKERFILE, re.MULTILINE)
    assert len(stages) == DOCKERFILE.count("\nFROM ") == 2
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", bases[name]) for name in stages)


def test_the_pod_is_nobody_special_and_takes_only_named_folders() -> None:
    said = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE, re.MULTILINE)
    users = [words for instruction, words in said if instruction == "USER"]
    assert users[-1].isdigit()
    assert int(users[-1]) > 0
    last = dict(said)
    assert last["ENTRYPOINT"] == '["/app/start-trainer"]'
    assert last["VOLUME"] == '["/workspace"]'
    assert "trainer.health" in DOCKERFILE[DOCKERFILE.index("HEALTHCHECK") :]
    copied = [w for i, w in said if i == "COPY" and "--from=" not in w]
    assert {w.split()[-2] for w in copied} == {
        "deployments/trainer-requirements.txt", "brightrun", "trainer",
        "deployments/start-trainer.sh",
    }  # fmt: skip
    ignored = (DEPLOYMENTS / "trainer.Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not [line for line in ignored if re.match(r"!(\.|.*(env|models|brightrun/))", line)]


def started(tmp_path: Path, processes: str, *arguments: str) -> str:
    """The command that the image's entry point becomes."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [str(DEPLOYMENTS / "start-trainer.sh"), *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "BRIGHTRUN_PROCESSES": processes},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_entry_point_is_the_trainer_or_torchrun_for_several_gpus(tmp_path: Path) -> None:
    assert started(tmp_path, "1") == "-m trainer"
    assert started(tmp_path, "1", "prepare", "tiny") == "-m trainer prepare tiny"
    assert started(tmp_path, "4") == (
        "-m torch.distributed.run --standalone --nproc-per-node 4 -m trainer"
    )


def test_a_pod_whose_events_thread_works_is_healthy_and_one_that_is_silent_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = tmp_path / "alive"
    environ = {health.VARIABLE: str(alive)}
    assert "no sign of life" in health.trouble(environ, 0.0)
    monkeypatch.setenv(health.VARIABLE, str(alive))
    reporter = Reporter(RunFolder((tmp_path / "storage").as_uri(), "job-1"), 1, {})
    reporter.start()
    reporter.close()
    now = alive.stat().st_mtime
    assert health.trouble(environ, now + 5) == ""
    assert health.trouble(environ, now + 61) == "no sign of life for 61 s"
    asked = subprocess.run([sys.executable, "-m", "trainer.health"], cwd=ROOT, check=False)
    assert asked.returncode == 0


# Fake of the docker client at its own door: answers as buildx 0.10+ does, and writes down what it
# was asked.
DOCKER = """#!/bin/sh
echo "$@" >> "$ASKED"
while [ "$#" -gt 0 ]; do
  [ "$1" = --metadata-file ] && echo '{"containerimage.digest": "DIGEST"}' > "$2"
  [ "$1" = --raw ] && echo '{"layers": [{"size": 4000000000}, {"size": 1000000000}]}'
  shift
done
exit 0
""".replace("DIGEST", DIGEST)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A committed copy of what the build script needs, with a docker client beside it."""
    place = tmp_path / "checkout"
    shutil.copytree(DEPLOYMENTS, place / "deployments", ignore=shutil.ignore_patterns("migrations"))
    (place / "deployments/trainer-image").unlink(missing_ok=True)
    for name in ("brightrun", "trainer"):
        (place / name).mkdir()
        (place / name / "__init__.py").write_text("")
    (place / "constraints.txt").write_text("torch==2.13.0\n")
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "all")):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


def build(checkout: Path, name: str, **more: str) -> subprocess.CompletedProcess[str]:
    bin_ = checkout.parent
    env = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "ASKED": f"{bin_}/asked", **more}
    return subprocess.run(
        [str(checkout / "deployments/build-image.sh"), name],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_built_image_is_written_by_digest_where_settings_read_it(checkout: Path) -> None:
    done = build(checkout, "ghcr.io/bright/trainer")
    assert done.returncode == 0, done.stderr
    place = checkout / BUILT_IMAGE.relative_to(ROOT)
    assert built_image(place) == f"ghcr.io/bright/trainer@{DIGEST}"
    asked = (checkout.parent / "asked").read_text()
    assert "--platform linux/amd64" in asked
    assert asked.count("@sha256:") == 3  # two bases, and the look at what was pushed
    assert "5.00 GB of at most 5.5 GB" in done.stdout


def test_an_image_has_flash_attention_only_where_its_wheel_is_named(checkout: Path) -> None:
    assert build(checkout, "ghcr.io/bright/trainer").returncode == 0
    (checkout / "deployments/trainer-image").unlink()
    wheel = f"https://a.example/flash_attn-2.8-cp311.whl#sha256={'a' * 64}"
    assert build(checkout, "ghcr.io/bright/trainer", FLASH_ATTN=wheel).returncode == 0
    plain, named = re.findall(
        r"--build-arg FLASH_ATTN=(\S*)", (checkout.parent / "asked").read_text()
    )
    assert (plain, named) == ("", wheel)
    assert "ARG FLASH_ATTN=\n" in DOCKERFILE


def test_without_a_built_image_there_is_none(tmp_path: Path) -> None:
    assert built_image(tmp_path / "absent") == ""


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("ghcr.io/bright/trainer:latest", {}, "without a tag"),
        ("", {}, "no REGISTRY/NAME"),
        ("ghcr.io/a/b", {"CUDA_BASE": "nvidia/cuda:13.0.1-base-ubuntu24.04"}, "by digest"),
        ("ghcr.io/a/b", {"PYTHON_BASE": "python@sha256:12"}, "by digest"),
        ("ghcr.io/a/b", {"FLASH_ATTN": "flash-attn"}, "by hash"),
        ("ghcr.io/a/b", {"FLASH_ATTN": "https://a.example/flash_attn.whl"}, "by hash"),
        ("ghcr.io/a/b", {"BUDGET_GB": "4.9"}, "too large"),
    ],
)
def test_what_the_build_refuses_leaves_settings_alone(
    checkout: Path, name: str, more: dict[str, str], words: str
) -> None:
    done = build(checkout, name, **more)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (checkout / "deployments/trainer-image").exists()
    pushed = "BUDGET_GB" in more
    assert (checkout.parent / "asked").exists() == pushed


def test_changes_that_are_not_committed_are_not_built(checkout: Path) -> None:
    (checkout / "trainer/new.py").write_text("")
    done = build(checkout, "ghcr.io/bright/trainer")
    assert done.returncode == 2
    assert "uncommitted changes" in done.stderr


def test_the_committed_digest_is_one_line_by_digest_or_absent() -> None:
    assert re.fullmatch(r"([a-z0-9.:/_-]+@sha256:[0-9a-f]{64})?", built_image())
