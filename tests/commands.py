"""Run the real command line as a person does: another process, an environment of its own.

What a process adds nothing to runs in this one (`inside`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from training_files import document, write_json
from typer.testing import CliRunner

from brightrun.ledger import Ledger
from brightrun.runfolder import RunFolder
from brightrun.settings import Settings
from flows import cli

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300
# Loopback up, nothing else: what needs a network fails.
OFFLINE = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
SMALL = {
    "epochs": 2, "pairs_per_step": 2, "scenarios": 3, "questions": 4, "rotations": 1,
    "max_new_tokens": 8, "eval_points": 1, "learning_rate": 0.01, "lora_r": 4,
}  # fmt: skip
SERVE = """
import json, sys
from brightrun.settings import load
from flows import server
settings = load()
server.isolate(settings)
_, url = server.start(settings, port=server.free_port())
(settings.prefect_home / "server.json").write_text(json.dumps({"api_url": url}))
print(url, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout as the one JSON object that it must be."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def environment(home: Path, **more: str) -> dict[str, str]:
    known = ("PATH", "LANG", "TMPDIR", "OMP_WAIT_POLICY")
    kept = {k: os.environ[k] for k in known if k in os.environ}
    mine = {"HOME": str(home.parent), "BRIGHTRUN_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    mine["BRIGHTRUN_CPU_SPEED"] = "1"  # not measured anew by every command
    return {**kept, **mine, "COLUMNS": "100", **more}


def start(home: Path, *arguments: str, wrap: tuple[str, ...] = (), **more: str) -> Any:
    """The command as a running process; its session can be killed as a whole."""
    return subprocess.Popen(
        [*wrap, sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env=environment(home, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that was started in the background ignores Ctrl-C; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: Any, limit_s: float = TIMEOUT) -> Done:
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err)


def brightrun(home: Path, *arguments: str, wrap: tuple[str, ...] = (), **more: str) -> Done:
    return finish(start(home, *arguments, wrap=wrap, **more))


def inside(home: Path, *arguments: str) -> Done:
    """The command in this process: for words and exit codes, not for what a process is needed for.

    It saves the seconds that starting Python and importing libraries takes.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patched,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in [n for n in os.environ if n.startswith("BRIGHTRUN_")]:
            patched.delenv(name)
        patched.setenv("BRIGHTRUN_HOME", str(home))
        patched.setenv("BRIGHTRUN_CPU_SPEED", "1")
        patched.setattr(sys, "argv", ["brightrun", *arguments])
        patched.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def run(*arguments: str) -> Result:
    """In this process, with the environment of the test."""
    return CliRunner().invoke(cli.app, list(arguments))


def small_file(place: Path, conversations: int = 14) -> Path:
    return write_json(place / "practice.json", document(conversations, 4))


def train_options(**more: object) -> list[str]:
    """Preset demo with the model `tiny`, cut down to seconds."""
    values = {**SMALL, **more}
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return ["--preset", "demo", "--base-model", "tiny", *sets]


def furnish(home: Path, models: Path, migrated: Path | None = None) -> Path:
    """A home in which the base model is already prepared, and Prefect's database made."""
    shutil.copytree(models, home / "models")
    if migrated is not None:
        shutil.copytree(migrated / "prefect", home / "prefect")
    return home


def ledger(home: Path) -> Ledger:
    return Ledger.open(Settings(home=home))


def ledger_at(home: Path, url: str) -> Ledger:
    """The ledger of that home in another database."""
    return Ledger.open(Settings.model_validate({"home": home, "DATABASE_URL": url}))


def run_folder(home: Path, job_id: str) -> RunFolder:
    return RunFolder(Settings(home=home).storage, job_id)


@contextmanager
def shared_server(home: Path) -> Iterator[str]:
    """One Prefect server for several commands, as `make ui` has it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], cwd=ROOT, env=environment(home), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()  # closes its stdin: it ends, and the server with it


def kill(process: Any) -> None:
    """SIGKILL to a command, as the out-of-memory killer does."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def told_job(process: Any) -> str:
    """The job id of a running `train`: the first line on stderr."""
    line: str = process.stderr.readline()
    assert line.startswith("Job "), line
    return line.split()[1]


def steps(folder: RunFolder, attempt: int) -> list[int]:
    """Optimizer steps that an attempt has reported."""
    return [
        int(e.payload["step"])
        for e in folder.events(attempt)
        if e.type == "metric" and "loss" in e.payload
    ]
