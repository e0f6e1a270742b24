"""Answers of all models to the scenarios: greedy, or sampled with fixed seeds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from brightrun.durations import ANSWERS_AT_ONCE
from brightrun.tokens import ChatTokenizer
from trainer import failures, likelihoods, loading
from trainer.retrying import free_memory
from trainer.writers import Writer, chosen

if TYPE_CHECKING:
    from trainer.measure import Bench

TEMPERATURE, TOP_P = 0.7, 0.9


def batches(lengths: list[int], size: int) -> list[list[int]]:
    """Positions grouped by length, longest first: a pure function, the same in every attempt."""
    ordered = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def left_padded(
    prompts: list[list[int]], pad: int, shared: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and attention mask [b,t] of prompts that all end at the last column.

    The padding stands after the first `shared` tokens, which are the same in all of them.
    """
    width = max(map(len, prompts))
    gaps = [width - len(prompt) for prompt in prompts]
    ids = [p[:shared] + [pad] * gap + p[shared:] for p, gap in zip(prompts, gaps, strict=True)]
    mask = [[1] * shared + [0] * gap + [1] * (width - shared - gap) for gap in gaps]
    return torch.tensor(ids), torch.tensor(mask)


def cut(ids: list[int], ends: set[int]) -> tuple[list[int], str]:
    """(tokens before the first end token, `stop`), or (all tokens, `length`)."""
    for place, token in enumerate(ids):
        if token in ends:
            return ids[:place], "stop"
    return ids, "length"


def answer_all(bench: Bench, scenarios: list[Any]) -> int:
    """measurements/answers.jsonl. A batch is stored whole, and the batches never change."""
    names = [scenario["scenario_id"] for scenario in scenarios]
    prompts = [bench.tokenizer.prompt(scenario["messages"]) for scenario in scenarios]
    for prompt in prompts:
        bench.tokenizer.check_beginning(prompt)
    writer = writer_of(bench)
    store = bench.store("answers", "model", "scenario_id", "pass")
    passes = range(1, bench.values.passes + 1)
    wanted = [
        (which, name, number) for which in bench.models for number in passes for name in names
    ]
    groups = batches([len(prompt) for prompt in prompts], writer.batch)
    done = 0
    for which in bench.models:
        for number in passes:
            for place, group in enumerate(groups):
                keys = [(which, names[position], number) for position in group]
                bench.check()
                bench.progress(done, len(wanted), f"answers, {which}")
                if not store.has(keys):
                    seed = bench.values.seed * 1000 + number * 100 + place
                    made = writer.write(which, [prompts[p] for p in group], seed)
                    batch = {"batch": f"{bench.folder.job_id}/{bench.attempt}/{number}.{place}"}
                    common = [{"model": w, "scenario_id": n, "pass": k, **batch}
                              for w, n, k in keys]  # fmt: skip
                    store.append([{**c, **m} for c, m in zip(common, made, strict=True)])
                done += len(group)
    store.finish(wanted)
    return len(wanted)


def writer_of(bench: Bench) -> Writer:
    """The loaded model, or another engine where there is one."""

    def write(model: str, prompts: list[list[int]], seed: int) -> list[dict[str, Any]]:
        with bench.as_model(model):
            return generate(bench, prompts, seed)

    size = ANSWERS_AT_ONCE[bench.device]
    own = Writer(write, size, f"{size} at a time by the loaded model")
    drawn = bench.values.passes > 1
    sampling = {"temperature": TEMPERATURE, "top_p": TOP_P} if drawn else {}
    return chosen(bench, own, sampling, end_tokens(bench.model, bench.tokenizer))


def generate(bench: Bench, prompts: list[list[int]], seed: int) -> list[dict[str, Any]]:
    """{text, tokens, finish_reason, seconds} of each prompt; tokens without the end token.

    seconds: those of the batch, shared equally among its answers.

    Out of memory: one half after the other; all training is paid for by now. Greedy answers are
    the same in any group, sampled ones are drawn anew for the second half.
    """
    try:
        return _together(bench, prompts, seed)
    except (RuntimeError, MemoryError) as error:
        # Processes that share the layers are in the middle of the same forward pass.
        shared = torch.distributed.is_initialized()
        if shared or len(prompts) == 1 or not failures.is_out_of_memory(error):
            raise
        failure = failures.first_line(error)
    # Here the exception is gone, and with it the frames that hold the cache of keys and values.
    free_memory()
    half = (len(prompts) + 1) // 2
    bench.reporter.warn(
        "out_of_memory",
        f"{len(prompts)} answers at a time did not fit into memory: {half} are made at a time",
        failure,
        "nothing: greedy answers stay the same; a pod with more memory is faster",
    )
    first = generate(bench, prompts[:half], seed)
    return [*first, *generate(bench, prompts[half:], 2 * seed + 1)]


def _together(bench: Bench, prompts: list[list[int]], seed: int) -> list[dict[str, Any]]:
    started = time.monotonic()
    device = next(bench.model.parameters()).device
    ends = end_tokens(bench.model, bench.tokenizer)
    shared = likelihoods.in_common(prompts, bench.device)
    ids, mask = left_padded(prompts, bench.tokenizer.eot_id, shared)
    sampling: dict[str, Any] = {"do_sample": False}
    if bench.values.passes > 1:
        sampling = {"do_sample": True, "temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0}
    with torch.random.fork_rng():
        if shared:  # the system prompt, read once for all
            backbone, _ = loading.parts(bench.model)
            begun = backbone(input_ids=ids[:1, :shared].to(device), use_cache=True).past_key_values
            begun.batch_repeat_interleave(len(prompts))
            sampling["past_key_values"] = begun
        torch.manual_seed(seed)
        output = bench.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=bench.values.max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=bench.tokenizer.eot_id,
            use_cache=True,
            **sampling,
        )
    rows = []
    for row in output[:, ids.shape[1] :].tolist():
        kept, reason = cut(row, ends)
        text = bench.tokenizer.decode(kept).strip()
        rows.append({"text": text, "tokens": len(kept), "finish_reason": reason})
    seconds = round((time.monotonic() - started) / len(rows), 3)
    return [{**row, "seconds": seconds} for row in rows]


def end_tokens(model: Any, tokenizer: ChatTokenizer) -> set[int]:
    """The end-of-turn token and what the base model's generation settings name."""
    named = model.generation_config.eos_token_id
    ids = named if isinstance(named, list) else [named]
    return {tokenizer.eot_id, *(i for i in ids if i is not None)}
