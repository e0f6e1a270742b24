"""The local provider: pods are real processes here."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from waiting import until

from brightrun.compute import local, provider_of
from brightrun.compute.local import LocalProvider
from brightrun.compute.provider import LaunchRequest
from brightrun.errors import CapacityError, ConfigurationError
from brightrun.settings import Settings

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
STUBBORN = DEAF + SLEEP
# Starts a helper that ignores SIGTERM, then sleeps.
PARENT = (
    "import subprocess, sys, time; "
    f"subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], start_new_session=True); "
    "time.sleep(60)"
)


@pytest.fixture
def provide(tmp_path: Path) -> Iterator[Callable[[str], LocalProvider]]:
    made: list[LocalProvider] = []

    def provide(code: str) -> LocalProvider:
        made.append(LocalProvider(tmp_path / "pods", (sys.executable, "-c", code)))
        return made[-1]

    yield provide
    for provider in made:
        for name in provider.children:
            for process in provider._belonging(name):
                process.kill()
        for child in provider.children.values():
            child.wait()


def wanted(name: str = "br-job-1-1-abc", **environment: str) -> LaunchRequest:
    return LaunchRequest(name=name, environment=environment)


Provide = Callable[[str], LocalProvider]


def test_a_pod_inherits_nothing_but_what_it_is_given(
    provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("BRIGHTRUN_SLACK_TOKEN", "secret")
    out = tmp_path / "environment.json"
    code = f"import json, os; open({str(out)!r} + '.t', 'w').write(json.dumps(dict(os.environ)))"
    code += f"; os.rename({str(out)!r} + '.t', {str(out)!r}); " + SLEEP
    provide(code).launch(wanted(BRIGHTRUN_JOB_ID="job-1"))
    until(out.exists)
    seen = json.loads(out.read_text())
    assert seen["BRIGHTRUN_JOB_ID"] == "job-1"
    assert seen["BRIGHTRUN_POD"] == "br-job-1-1-abc"
    assert "secret" not in seen.values()


def test_another_process_finds_the_pod_by_its_name(provide: Provide) -> None:
    first, second = provide(SLEEP), provide(SLEEP)
    made = first.launch(wanted())
    assert second.find("br-job-1-1-abc") == made
    assert second.find("br-job-1-1-abd") is None
    assert [p.name for p in second.list("br-job-1-")] == ["br-job-1-1-abc"]
    assert second.list("br-job-2-") == []


def test_a_pod_whose_launcher_died_before_it_wrote_its_file_is_found(provide: Provide) -> None:
    first, second = provide(SLEEP), provide(SLEEP)
    made = first.launch(wanted())
    (first.records / "br-job-1-1-abc.json").unlink()
    # In the first moment after its start the kernel shows no environment of a process.
    found = until(lambda: second.find("br-job-1-1-abc"), what="the pod is seen by its environment")
    assert found.provider_id == made.provider_id
    second.terminate("br-job-1-1-abc")
    assert first.children["br-job-1-1-abc"].wait(timeout=60) == -signal.SIGTERM


def test_sigterm_comes_first(provide: Provide) -> None:
    provider = provide(SLEEP)
    provider.launch(wanted())
    provider.terminate("br-job-1-1-abc")
    assert provider.children["br-job-1-1-abc"].wait(timeout=60) == -signal.SIGTERM
    assert provider.find("br-job-1-1-abc") is None
    provider.terminate("br-job-1-1-abc")  # harmless


def test_a_pod_that_ignores_sigterm_is_killed(
    provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "TERM_GRACE_SECONDS", 0.3)
    deaf = tmp_path / "deaf"
    provider = provide(f"{DEAF}open({str(deaf)!r}, 'w'); {SLEEP}")
    provider.launch(wanted())
    until(deaf.exists)
    provider.terminate("br-job-1-1-abc")
    assert provider.find("br-job-1-1-abc") is None
    assert provider.children["br-job-1-1-abc"].wait(timeout=60) == -signal.SIGKILL


def test_a_killed_pod_with_much_memory_is_gone_when_terminate_returns(
    provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it gives its memory back it lives on without an environment to be found by."""
    monkeypatch.setattr(local, "TERM_GRACE_SECONDS", 0.0)
    deaf = tmp_path / "deaf"
    provider = provide(f"{DEAF}x = b'1' * 2**30; open({str(deaf)!r}, 'w'); {SLEEP}")
    provider.launch(wanted())
    until(deaf.exists)
    provider.terminate("br-job-1-1-abc")
    assert provider.find("br-job-1-1-abc") is None


def test_what_a_pod_started_does_not_outlive_it(provide: Provide) -> None:
    provider = provide(PARENT)
    provider.launch(wanted())
    until(lambda: len(provider._belonging("br-job-1-1-abc")) == 2)
    provider.terminate("br-job-1-1-abc")
    assert provider._belonging("br-job-1-1-abc") == ()


def test_a_dead_pod_that_nobody_buried_is_gone(provide: Provide) -> None:
    """Its launcher still runs and has not waited for it: a zombie is not a running pod."""
    first, second = provide(SLEEP), provide(SLEEP)
    pod = first.launch(wanted())
    os.kill(int(pod.provider_id), signal.SIGKILL)
    until(lambda: psutil.Process(int(pod.provider_id)).status() == psutil.STATUS_ZOMBIE)
    assert second.find("br-job-1-1-abc") is None
    second.terminate("br-job-1-1-abc")
    assert first.find("br-job-1-1-abc") is None


def test_a_reused_process_id_is_not_the_pod(provide: Provide) -> None:
    provider = provide(SLEEP)
    provider.records.mkdir()
    mine = psutil.Process()
    record = {"pid": mine.pid, "created": mine.create_time() - 100}
    (provider.records / "br-job-1-1-abc.json").write_text(json.dumps(record))
    assert provider.find("br-job-1-1-abc") is None
    provider.terminate("br-job-1-1-abc")  # and this test still runs


def test_a_machine_that_cannot_start_a_process_has_no_capacity(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "pods", (str(tmp_path / "nothing"),))
    with pytest.raises(CapacityError, match="No such file"):
        provider.launch(wanted())
    assert provider.find("br-job-1-1-abc") is None


def test_providers_are_found_by_name(tmp_path: Path) -> None:
    assert isinstance(provider_of("local", Settings(home=tmp_path)), LocalProvider)
    with pytest.raises(ConfigurationError, match="lambda"):
        provider_of("lambda", Settings(home=tmp_path))


def test_a_pod_of_several_processes_is_started_by_torchrun() -> None:
    trainer = ("python", "-m", "trainer")
    assert local.command_of(trainer, "1") == trainer
    assert local.command_of(trainer, "4") == (
        "python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4",
        "-m", "trainer",
    )  # fmt: skip
