"""Log-likelihoods of the choices of lm-eval's tasks: plain text, as the harness itself reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from brightrun.tokens import ChatTokenizer
from trainer import likelihoods
from trainer.data import IGNORED, Sample

if TYPE_CHECKING:
    from trainer.measure import Bench


def choices(bench: Bench, items: Sequence[Any]) -> int:
    """measurements/harness.jsonl: nats of each choice of an item after its context."""
    store = bench.store("harness", "model", "item_id")
    wanted = [(model, item["item_id"]) for model in bench.models for item in items]
    most = bench.model.config.max_position_embeddings
    cut = 0
    for done, (model, item) in enumerate((m, item) for m in bench.models for item in items):
        if done % 20 == 0:
            bench.progress(done, len(wanted), f"lm-eval tasks, {model}")
        if store.has([(model, item["item_id"])]):
            continue
        bench.check()
        pairs = [pair_of(bench.tokenizer, *request) for request in item["requests"]]
        cut += sum(len(before) + len(after) > most for before, after in pairs)
        with bench.as_model(model):
            sums = likelihoods.summed(bench.model, [sample(*pair, most) for pair in pairs])
        logprobs = [-one["nll"] for one in sums]
        store.append([{"model": model, "item_id": item["item_id"], "logprobs": logprobs}])
    if cut:
        bench.reporter.warn(
            "long_context",
            f"{cut} requests of lm-eval's tasks are longer than the model's {most} tokens: their "
            "beginning was left out, as the harness does",
            "the task has long documents or many examples",
            "use a base model with a longer context, or fewer examples",
        )
    store.finish(wanted)
    return len(wanted)


def pair_of(
    tokenizer: ChatTokenizer, context: str, continuation: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of both, split where the harness splits them: spaces at the end of the context belong to
    the continuation; an empty context is the first special token."""
    kept = context.rstrip()
    whole = tokenizer.plain(context + continuation)
    before = tokenizer.plain(kept)
    return (before, whole[len(before) :]) if before else ((tokenizer.eot_id,), whole)


def sample(before: tuple[int, ...], after: tuple[int, ...], most: int) -> Sample:
    """A sequence whose last tokens are predicted; its beginning is left out beyond `most`."""
    ids = (*before, *after)[-most:]
    first = len(ids) - len(after)
    content = tuple(at >= first for at in range(len(ids)))
    labels = tuple(token if on else IGNORED for token, on in zip(ids, content, strict=True))
    return Sample("", "", "", ids, labels, content)
