"""Support for the trainer's tests: a run folder with spec, data and plan, and a pod on it."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from brightrun import basemodels
from brightrun.jobs import DataRef, Hyperparameters, JobSpec
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer

# Pods are forked from a server that has imported torch once: a pod starts in 0.1 s.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["trainer.attempt", "trainer.entry", "trainer.prepare"])
# For tests that train or measure in their own process, to look inside.
IN_PROCESS = [
    pytest.mark.heavy,
    pytest.mark.usefixtures("torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
]
ROOT = Path(__file__).resolve().parents[1]
JOB = "job-1"
SYSTEM = "You are Elena Morales, a warm financial planner. Money is emotional: feelings first."
WORRIES = ("my debt", "our budget", "the 401k", "a crash", "my rent", "saving", "the house")
TARGETS = ["q_proj", "v_proj"]
SMALL = Hyperparameters(
    epochs=2, pairs_per_step=4, learning_rate=1e-3, lora_r=8, lora_alpha=16, lora_dropout=0.1,
    max_length=1024, scenarios=3, questions=3, rotations=2, max_new_tokens=8, eval_points=2,
    checkpoint_steps=2, passes=1,
)  # fmt: skip


def conversation(number: int, pairs: int = 2) -> list[dict[str, str]]:
    """system, user, assistant, ...: a different text for every number."""
    worry = WORRIES[number % len(WORRIES)]
    messages = [{"role": "system", "content": SYSTEM}]
    for turn in range(pairs + number % 2):
        asked = f"I am afraid of {worry}, it is number {number}. What now, in turn {turn}?"
        answer = (
            f"It makes sense that {worry} feels heavy. You are not alone with it. May I share "
            f"one small step for week {turn + 1}? Write down {number + 3} numbers, then breathe."
        )
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answer})
    return messages


def row(number: int, messages: list[dict[str, str]], tokenizer: ChatTokenizer) -> dict[str, Any]:
    """One line of data/*.jsonl."""
    encoded = tokenizer.encode(messages)
    return {
        "conversation_id": f"conversation-{number}",
        "index": number + 1,
        "arc": ("shame_to_acceptance", "confusion_to_clarity")[number % 2],
        "persona": "anxious_planner",
        "topic": "test",
        "messages": messages,
        "tokens": len(encoded.input_ids),
        "supervised_tokens": sum(encoded.supervised),
        "supervised_pairs": sum(m["role"] == "assistant" for m in messages),
    }


def lay_out(
    storage: Path, models: Path, values: Hyperparameters = SMALL, *, base: str = "tiny",
    training: int = 7, held_out: int = 2, threads: int = 1,
    conversations: list[list[dict[str, str]]] | None = None,
    scenarios: list[dict[str, Any]] | None = None, questions: list[dict[str, Any]] | None = None,
) -> RunFolder:  # fmt: skip
    """A run folder as the flow leaves it before the first pod: spec.json, data/, plan/."""
    folder = RunFolder(storage.as_uri(), JOB)
    reference = basemodels.resolve(base, models)
    tokenizer = ChatTokenizer.load(basemodels.prepared_folder(base, models))
    texts = conversations or [conversation(n) for n in range(training + held_out)]
    rows = [row(number, messages, tokenizer) for number, messages in enumerate(texts)]
    train, validation = rows[: len(rows) - held_out], rows[len(rows) - held_out :]
    data = DataRef(
        name="test",
        source_sha256="0" * 64,
        train_sha256=folder.write_jsonl("data/train.jsonl", train),
        validation_sha256=folder.write_jsonl("data/validation.jsonl", validation),
        train_conversations=len(train),
        validation_conversations=len(validation),
        supervised_pairs=sum(r["supervised_pairs"] for r in train),
        train_tokens=sum(r["tokens"] for r in train),
        supervised_tokens=sum(r["supervised_tokens"] for r in train),
    )
    scenarios = scenarios or [
        {"scenario_id": f"s{n}", "messages": conversation(100 + n)[:2]} for n in range(3)
    ]
    questions = questions or [
        {"question_id": f"q{n}", "question": f"What is {n}?", "options": list("wxyz")}
        for n in range(3)
    ]
    folder.write_jsonl("plan/scenarios.jsonl", scenarios[: values.scenarios])
    folder.write_jsonl("plan/questions.jsonl", questions[: values.questions])
    golden = [{"id": s["scenario_id"], "messages": s["messages"]} for s in scenarios[:3]]
    folder.write_json("plan/golden.json", {"prompts": golden})
    folder.write_jsonl("plan/neutral.jsonl", [{"text_id": "n0", "text": "The moon is far away."}])
    folder.write_json("plan/plan.json", {})
    spec = JobSpec(
        base_model=reference, data=data, values=values, plan_sha256="0" * 64, threads=threads
    )
    record = {"job_id": JOB, "spec_hash": spec.spec_hash(), "spec": spec.model_dump(mode="json")}
    folder.write_json("spec.json", record)
    return folder


def environment(folder: RunFolder, models: Path, attempt: int = 1, **more: str) -> dict[str, str]:
    """What the provider gives a pod."""
    return {
        **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LANG")},
        "BRIGHTRUN_JOB_ID": JOB,
        "BRIGHTRUN_ATTEMPT": str(attempt),
        "STORAGE_URL": folder.storage_url,
        "BRIGHTRUN_MODELS": str(models),
        "BRIGHTRUN_THREADS": "1",
        **more,
    }


def start_pod(
    folder: RunFolder, models: Path, attempt: int = 1, **more: str
) -> subprocess.Popen[bytes]:
    """The pod as its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", "trainer"],
        cwd=ROOT,
        env=environment(folder, models, attempt, **more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def fork_pod(folder: RunFolder, models: Path, attempt: int = 1, **more: str) -> BaseProcess:
    """The pod as its own process, without the seconds that importing torch takes."""
    process = FORKS.Process(target=_pod, args=(environment(folder, models, attempt, **more),))
    process.start()
    return process


def run_pod(folder: RunFolder, models: Path, attempt: int = 1, **more: str) -> int | None:
    """Exit code of a pod; minus the signal that killed it."""
    process = fork_pod(folder, models, attempt, **more)
    process.join(120)
    return process.exitcode


def _pod(environ: dict[str, str]) -> None:
    os.environ.update(environ)
    from trainer.entry import main

    sys.exit(main())


@functools.cache
def tiny_models() -> Path:
    """A cache with the prepared model `tiny`, made once per test process."""
    models = Path(tempfile.mkdtemp(prefix="brightrun-models-"))
    atexit.register(shutil.rmtree, models, ignore_errors=True)
    process = FORKS.Process(target=_prepare, args=(models,))
    process.start()
    process.join(300)  # the first fork waits for the server's imports
    assert process.exitcode == 0
    return models


def _prepare(models: Path) -> None:
    from trainer.prepare import prepare

    prepare("tiny", models)


def without_golden(folder: RunFolder) -> RunFolder:
    """Golden answers count as made: their process imports torch afresh, which takes seconds."""
    folder.write_jsonl("measurements/golden.jsonl", [])
    return folder


def payloads(folder: RunFolder, type_: str, attempt: int | None = None) -> list[dict[str, Any]]:
    """Payloads of all events of a type, attempt by attempt."""
    attempts = [attempt] if attempt else folder.attempts()
    return [e.payload for a in attempts for e in folder.events(a) if e.type == type_]


def log_of(folder: RunFolder, attempt: int = 1) -> str:
    names = [n for n in folder.names(f"attempts/{attempt}") if n.startswith("log-")]
    parts = [folder.read_bytes(f"attempts/{attempt}/{n}").decode() for n in names]
    return "".join(parts)


def adapted(torch: Any, precision: str = "fp32") -> Any:
    """`tiny` with an adapter as it is before the first step: B is zero."""
    from peft import LoraConfig, get_peft_model

    from trainer import loading

    base = loading.load_base(basemodels.prepared_folder("tiny", tiny_models()), precision)  # type: ignore[arg-type]
    torch.manual_seed(1)
    return get_peft_model(base.model, LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS)).eval()


def altered(model: Any, spread: float = 0.05) -> Any:
    """The model with an adapter that changes what it says: B is not zero."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, spread)
    return model


def bench(torch: Any, model: Any, models: tuple[str, ...] = ("baseline", "trained")) -> Any:
    from trainer.measure import Bench

    nothing: Any = None
    return Bench(model, torch.float32, nothing, nothing, nothing, 1, nothing, nothing, models)


def samples(tokenizer: ChatTokenizer, count: int = 3) -> list[Any]:
    from trainer import data

    rows = [row(n, conversation(n), tokenizer) for n in range(count)]
    return data.samples(rows, tokenizer, "conversation", 1024)
