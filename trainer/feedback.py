"""What training conversations did to the model: learned by heart, against the held-out ones.

Of a drawn part of the training conversations: likelihoods under both models, and the cosine of each
one's adapter gradient with that of the held-out conversations at the end of training (as TracIn,
Pruthi et al. 2020, at the last checkpoint only). Below 0: a step on it raises the held-out loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from brightrun.modelnames import MODELS
from trainer import failures, likelihoods, loading, loss
from trainer.data import Sample, order
from trainer.retrying import free_memory

if TYPE_CHECKING:
    from trainer.measure import Bench

INFLUENCE = "measurements/influence.jsonl"
# A gradient takes three times a forward pass: so many held-out conversations stand for all.
MOST_HELD_OUT = 8


def drawn(training: Sequence[Sample], seed: int, count: int) -> list[Sample]:
    """Samples of `count` conversations, by seed: the same in every attempt."""
    names = sorted({sample.conversation_id for sample in training})
    chosen = {names[at] for at in order(seed, 0, names)[:count]}
    return [sample for sample in training if sample.conversation_id in chosen]


def probe(
    bench: Bench, training: Sequence[Sample], held_out: Sequence[Sample], plan: dict[str, Any]
) -> dict[str, int]:
    """measurements/training.jsonl and influence.jsonl; how many conversations of each."""
    n, seed = plan.get("n", {}), bench.values.seed
    read = drawn(training, seed, n.get("probe", 0))
    if not read:
        return {}
    counts = {"training": likelihoods.conversations(bench, read, "training", MODELS)}
    steps = drawn(training, seed, n.get("influence", 0))
    if steps and not torch.distributed.is_initialized():
        held = drawn(held_out, seed, max(1, min(MOST_HELD_OUT, n["influence"] - 1)))
        counts["influence"] = influence(bench, steps, held)
    return counts


def influence(bench: Bench, training: Sequence[Sample], held_out: Sequence[Sample]) -> int:
    """measurements/influence.jsonl: cosine of gradients per conversation.

    Out of memory: none is told, with a warning; everything else is measured by then.
    """
    if bench.folder.exists(INFLUENCE):
        return len(bench.folder.read_jsonl(INFLUENCE))
    failure = ""
    try:
        rows = _cosines(bench, training, held_out)
    except (RuntimeError, MemoryError) as error:
        if not failures.is_out_of_memory(error):
            raise
        failure, rows = failures.first_line(error), []
    if failure:  # the exception is gone, and with it the frames that hold the gradients
        free_memory()
        bench.reporter.warn(
            "out_of_memory",
            "which conversations hurt was not measured: gradients do not fit into memory",
            failure,
            "nothing: all other measurements are there",
        )
    bench.folder.write_jsonl(INFLUENCE, rows)
    return len(rows)


def _cosines(
    bench: Bench, training: Sequence[Sample], held_out: Sequence[Sample]
) -> list[dict[str, Any]]:
    weights = [p for name, p in bench.model.named_parameters() if ".default." in name]
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        wanted = sum(gradient(bench, sample, weights) for sample in held_out)
        rows: dict[str, torch.Tensor] = {}
        for done, sample in enumerate(training):
            bench.check()
            bench.progress(done, len(training), "influence")
            found = gradient(bench, sample, weights)
            rows[sample.conversation_id] = rows.get(sample.conversation_id, 0) + found
        return [
            {
                "conversation_id": name,
                "cosine": torch.nn.functional.cosine_similarity(found, wanted, dim=0).item(),
            }
            for name, found in rows.items()
        ]
    finally:
        for weight, on in zip(weights, before, strict=True):
            weight.requires_grad_(on)
            weight.grad = None


def gradient(bench: Bench, sample: Sample, weights: Sequence[Any]) -> Any:
    """Of the mean nats per supervised token, for the trained adapter: one fp32 vector."""
    for weight in weights:
        weight.grad = None
    with bench.as_model("trained"), torch.enable_grad():
        states, targets, _ = likelihoods.hidden_at_labels(bench.model, [sample])
        _, head = loading.parts(bench.model)
        mean = loss.summed_nll(states, head, targets) / len(targets)
        mean.backward()  # type: ignore[no-untyped-call]
    return torch.cat([weight.grad.detach().float().flatten().cpu() for weight in weights])
