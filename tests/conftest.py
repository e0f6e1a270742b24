"""Isolation for every test: own state, own Prefect home, no secrets, no network of libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from suite_order import Units, rank

ROOT = Path(__file__).resolve().parents[1]

OURS = ("BRIGHTRUN_", "PREFECT_", "SLACK_", "HF_", "RUNPOD_", "SUPABASE_", "AWS_")
NAMES = ("DATABASE_URL", "STORAGE_URL", "REPORTS_URL")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", action="store_true", help="every test's ledger lies in a real Postgres"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported: nobody's own settings, server or home are touched."""
    for name in [n for n in os.environ if n.startswith(OURS) or n in NAMES]:
        del os.environ[name]
    state = tempfile.mkdtemp(prefix="brightrun-tests-")
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
    os.environ.update(
        BRIGHTRUN_HOME=f"{state}/home",
        PREFECT_HOME=f"{state}/prefect",
        PREFECT_PROFILES_PATH=f"{state}/prefect/profiles.toml",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        HF_HUB_OFFLINE="1",
        BRIGHTRUN_CPU_SPEED="1",
        # More processes than cores: a thread that waits for another sleeps at once.
        OMP_WAIT_POLICY="PASSIVE",
        # Whatever image this checkout names: no test asks its registry.
        BRIGHTRUN_RUNPOD_IMAGE="",
    )


SLOW: pytest.StashKey[int] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Counted before `-m` takes them out; a worker tells the process that prints."""
    if "not slow" in config.option.markexpr:
        config.stash[SLOW] = sum(item.get_closest_marker("slow") is not None for item in items)
        if hasattr(config, "workeroutput"):
            config.workeroutput["slow"] = config.stash[SLOW]
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return Units(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Every worker of pytest-xdist collects all tests."""
    node.config.stash[SLOW] = getattr(node, "workeroutput", {}).get("slow", 0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was left out, and a judge that is missing, are not passed over in silence."""
    if slow := config.stash.get(SLOW, 0):
        terminalreporter.write_line(f"slow tests left out: {slow} (make soak)", yellow=True)
    from fakes.runpod.contract import PLACE as contract

    if not contract.exists():
        where = os.path.relpath(contract, ROOT)
        terminalreporter.write_line(
            f"RunPod fake: requests and answers were not judged, {where} is missing", yellow=True
        )


@pytest.fixture(scope="session")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A Postgres server when it was asked for, else None: SQLite in each home."""
    if not request.config.getoption("--postgres"):
        yield None
        return
    from postgres_server import postgres_server

    with postgres_server(tmp_path_factory.mktemp("postgres") / "data") as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Any) -> Path:
    """A fresh BRIGHTRUN_HOME that does not exist yet, and a ledger that is empty."""
    place = tmp_path / "home"
    if databases is not None:
        monkeypatch.setenv("DATABASE_URL", databases.fresh())
    monkeypatch.setenv("BRIGHTRUN_HOME", str(place))
    return place


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's same waiting, a hundred times shorter."""
    from brightrun import following, recovery

    monkeypatch.setattr(following, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(recovery, "LONGEST_PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def torch() -> Any:
    """torch in this process, on one thread: only for tests that must look inside."""
    import torch

    torch.set_num_threads(1)
    return torch


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder made by one test process for all: copy it, do not write to it."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place = shared / name
    with FileLock(f"{place}.lock"):
        if not place.exists():
            new = shared / f"{name}.new"
            shutil.rmtree(new, ignore_errors=True)  # left by a worker that failed
            make(new)
            new.rename(place)
    return place


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the prepared base model `tiny`."""
    from trainer_jobs import tiny_models

    return once(tmp_path_factory, "models", lambda made: shutil.copytree(tiny_models(), made))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """That of `tiny`."""
    from trainer_jobs import tiny_models

    from brightrun import basemodels
    from brightrun.tokens import ChatTokenizer

    return ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with Prefect's database, as `make setup` leaves it."""

    def migrate(made: Path) -> None:
        command = [sys.executable, "-m", "flows.server", "--migrate"]
        environ = {**os.environ, "BRIGHTRUN_HOME": str(made)}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, timeout=300)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    return once(tmp_path_factory, "migrated", migrate)
