"""Who writes the answers: the loaded model in padded batches, or vLLM where a GPU pod has it.

vLLM keeps its own copy of the base model, so there must be room for one beside ours. This branch
was written from vLLM's documentation and **has never run on a GPU here**: it is tested against a
fake of its interface only. A failure to start falls back to the loaded model, and says so.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from brightrun.baselines import MACHINE, PARTS
from brightrun.loraranks import for_vllm
from brightrun.modelnames import BASELINE, MODELS
from trainer import failures
from trainer.retrying import free_memory

if TYPE_CHECKING:
    from trainer.measure import Bench

Rows = list[dict[str, Any]]
# (model, prompts, seed) -> {text, tokens, finish_reason, seconds} of each prompt.
Write = Callable[[str, list[list[int]], int], Rows]
VLLM, TRANSFORMERS = "vllm", "transformers"
# vLLM makes its own batches: a whole pass is given at once.
VLLM_BATCH = 1000
# Of the weights' size, for keys and values and what it compiles.
ROOM = 1.4


@dataclass(frozen=True, slots=True)
class Writer:
    """batch: prompts at a time; why: the choice in words, with its numbers."""

    write: Write
    batch: int
    why: str


def chosen(bench: Bench, own: Writer, sampling: dict[str, float], ends: set[int]) -> Writer:
    """vLLM where nothing stood in its way when the measuring began, else `own`; the reason is told
    as an event.

    When vLLM does not start, what it wrote before (another attempt's, an earlier job's) is thrown
    away: two engines in one comparison would be a difference of its own.
    """
    found, reason = own, bench.no_vllm
    if not reason:
        try:
            found = vllm_writer(bench, sampling, ends)
        except Exception as error:  # noqa: BLE001 a foreign engine's own, of any kind
            reason = f"vLLM did not start ({failures.first_line(error)})"
    if not bench.no_vllm and found is own:  # the exception is gone, and with it what it held
        free_memory()
        bench.folder.remove(f"{PARTS}/answers")
        bench.folder.write_json(MACHINE, {**bench.machine, "answers_by": TRANSFORMERS})
    why = found.why if found is not own else f"{own.why}: {reason}"
    bench.reporter.add("choice", {"stage": "measuring", "message": f"answers: {why}"})
    return found


def obstacle(bench: Bench) -> str:
    """Why vLLM cannot be used here; "" when it can."""
    if bench.device != "cuda":
        return "vLLM needs a GPU"
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed in this pod"
    if torch.distributed.is_initialized():
        return "the model is shared by several processes"
    held = sum(p.numel() * p.element_size() for p in bench.model.parameters())
    free, _ = torch.cuda.mem_get_info()
    if free < ROOM * held:
        return f"vLLM needs {ROOM * held / 1e9:.1f} GB beside ours, {free / 1e9:.1f} GB are free"
    return ""


def vllm_writer(bench: Bench, sampling: dict[str, float], ends: set[int]) -> Writer:
    """An engine with the base model of `bench`, and its adapters as LoRA requests."""
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]
    from vllm.lora.request import LoRARequest  # type: ignore[import-not-found]

    place = Path(tempfile.mkdtemp(prefix="brightrun-vllm-"))
    adapters: dict[str, Any] = {}
    for number, name in enumerate(bench.models[1:], start=1):
        own = "default" if name in MODELS else name
        bench.model.save_pretrained(str(place / name), selected_adapters=[own])
        folder = place / name if own == "default" else place / name / own
        adapters[name] = LoRARequest(name, number, str(folder))
    free, total = torch.cuda.mem_get_info()
    nf4 = {"quantization": "bitsandbytes"} if bench.values.precision == "nf4" else {}
    engine = LLM(
        model=str(bench.model.get_base_model().config._name_or_path),
        dtype=str(bench.dtype).removeprefix("torch."),
        enable_lora=True,
        max_lora_rank=largest_rank(bench.model),
        max_loras=1,
        gpu_memory_utilization=round(0.9 * free / total, 2),
        seed=bench.values.seed,
        **nf4,
    )

    def write(model: str, prompts: list[list[int]], seed: int) -> Rows:
        begun = time.monotonic()
        params = SamplingParams(
            max_tokens=bench.values.max_new_tokens,
            stop_token_ids=sorted(ends),
            seed=seed,
            detokenize=False,
            **(sampling or {"temperature": 0.0}),
        )
        made = engine.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            params,
            lora_request=None if model == BASELINE else adapters[model],
            use_tqdm=False,
        )
        seconds = round((time.monotonic() - begun) / len(prompts), 3)
        return [{**row(bench, one.outputs[0], ends), "seconds": seconds} for one in made]

    return Writer(write, VLLM_BATCH, "vLLM, all scenarios of a pass at once (not yet proven)")


def largest_rank(model: Any) -> int:
    """Of all adapters on the model, as vLLM takes it."""
    configs = model.peft_config.values()
    return for_vllm(rank for one in configs for rank in (one.r, *one.rank_pattern.values()))


def row(bench: Bench, output: Any, ends: set[int]) -> dict[str, Any]:
    """An engine's output as ours: tokens without the end token."""
    ids = list(output.token_ids)
    if ids and ids[-1] in ends:
        ids = ids[:-1]
    reason = "stop" if output.finish_reason == "stop" else "length"
    text = bench.tokenizer.decode(ids).strip()
    return {"text": text, "tokens": len(ids), "finish_reason": reason}
