"""Who writes the answers: vLLM where it is, else the loaded model; never both."""

from __future__ import annotations

import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from trainer_jobs import IN_PROCESS, adapted, bench

from brightrun.jobs import Hyperparameters
from brightrun.runfolder import RunFolder
from brightrun.tokens import ChatTokenizer

pytestmark = IN_PROCESS


class Engine:
    """A fake of vLLM's interface: what it was given, and one answer of two tokens."""

    made: ClassVar[list[Any]] = []
    held: ClassVar[list[Any]] = []

    def __init__(self, **given: Any) -> None:
        if given["dtype"] != "float32":
            self.held.append(weakref.ref(self))
            raise RuntimeError("this GPU cannot do that\nmore")
        self.made.append(given)

    def generate(self, prompts: Any, params: Any, **given: Any) -> Any:
        self.made.append((prompts, params, given["lora_request"]))
        output = SimpleNamespace(token_ids=[65, 66, 0], finish_reason="stop")
        return [SimpleNamespace(outputs=[output]) for _ in prompts]


@pytest.mark.parametrize("starts", [True, False])
def test_vllm_writes_where_it_is_and_another_engines_rows_are_never_mixed_in(
    torch: Any, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: Any, starts: bool
) -> None:
    from peft import LoraConfig

    from trainer import writers

    interface = SimpleNamespace(LLM=Engine, SamplingParams=lambda **given: given)
    request = SimpleNamespace(LoRARequest=lambda *given: given)
    for name, module in (
        ("vllm", interface),
        ("vllm.lora", request),
        ("vllm.lora.request", request),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    # Memory that others have taken since the measuring began changes nothing.
    monkeypatch.setattr(writers, "obstacle", lambda _: "no room is left")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (60e9, 80e9))
    still_held: list[Any] = []
    monkeypatch.setattr(writers, "free_memory", lambda: still_held.append(Engine.held[-1]()))
    folder, told = RunFolder(tmp_path.as_uri(), "job-1"), []
    folder.write_jsonl("measurements/parts/answers/0001-000001.jsonl", [{"model": "baseline"}])
    model = adapted(torch)
    model.add_adapter("control", LoraConfig(r=20, target_modules=["q_proj"]))
    table = replace(
        bench(torch, model), folder=folder, tokenizer=tokenizer, values=Hyperparameters(),
        dtype=torch.float32 if starts else torch.bfloat16, no_vllm="",
        reporter=SimpleNamespace(add=lambda *event: told.append(event[1]["message"])),
    )  # fmt: skip
    own = writers.Writer(lambda *_: [], 12, "the loaded model")
    found = writers.chosen(table, own, {}, {0})
    assert folder.exists("measurements/parts/answers") is starts
    if not starts:
        assert found is own
        assert still_held == [None]
        assert told == ["answers: the loaded model: vLLM did not start (this GPU cannot do that)"]
        return
    rows = found.write("trained", [[1, 2], [3]], 7)
    assert rows[0]["finish_reason"] == "stop"
    assert rows[0]["tokens"] == 2
    prompts, params, lora = Engine.made[-1]
    assert prompts == [{"prompt_token_ids": [1, 2]}, {"prompt_token_ids": [3]}]
    assert (params["temperature"], params["seed"], params["stop_token_ids"]) == (0.0, 7, [0])
    assert (Path(lora[2]) / "adapter_model.safetensors").is_file()
    found.write("baseline", [[1]], 7)
    assert Engine.made[-1][2] is None
    assert Engine.made[0]["gpu_memory_utilization"] == 0.68
    assert Engine.made[0]["max_lora_rank"] == 32  # that of the adapter beside, not the job's own
    assert "not yet proven" in told[0]


def test_without_a_gpu_the_loaded_model_writes(torch: Any) -> None:
    from trainer import writers

    table = bench(torch, adapted(torch))
    assert writers.obstacle(table) == "vLLM needs a GPU"
    own = writers.Writer(lambda *_: [], 12, "the loaded model")
    told: list[Any] = []
    table = replace(table, reporter=SimpleNamespace(add=lambda *event: told.append(event)))
    assert writers.chosen(table, own, {}, {0}) is own
    assert "vLLM was not looked for" in told[0][1]["message"]
