"""Log-likelihoods of texts under every model: held-out and training conversations, neutral text.

Content tokens are summed apart from the end-of-turn tokens of the template; fp32 log-softmax.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from brightrun.errors import TrainerError
from brightrun.tokens import ChatTokenizer
from trainer import loading, loss
from trainer.data import IGNORED, Sample

if TYPE_CHECKING:
    from trainer.measure import Bench

Row = dict[str, Any]
SUMS = ("nll", "tokens", "nll_all", "tokens_all")
# A CPU is fastest alone with each text (padding is work); a GPU wants its width filled.
TOKENS_AT_ONCE = {"cpu": 0, "cuda": 16_384}
# A beginning of so many tokens that several texts share (a question, its options) is read once.
WORTH = 16


def held_out(bench: Bench, samples: Sequence[Sample]) -> int:
    """measurements/likelihood.jsonl: the conversations that nothing was trained on.

    One that was split is one row all the same: its parts are no independent evidence.
    """
    return conversations(bench, samples, "likelihood", bench.models)


def conversations(bench: Bench, samples: Sequence[Sample], kind: str, models: Sequence[str]) -> int:
    """measurements/{kind}.jsonl: one row per model and conversation."""
    whole_ones: dict[str, list[Sample]] = {}
    for sample in samples:
        whole_ones.setdefault(sample.conversation_id, []).append(sample)

    def facts(name: str) -> Row:
        return {"conversation_id": name, "arc": whole_ones[name][0].arc}

    return _measured(bench, kind, "conversation_id", whole_ones, models, facts)


def neutral(bench: Bench, texts: Sequence[Row]) -> int:
    """measurements/neutral.jsonl: public-domain prose, plain, without the chat template."""
    samples = {row["text_id"]: [plain(bench.tokenizer, row)] for row in texts}
    return _measured(bench, "neutral", "text_id", samples, bench.models, lambda n: {"text_id": n})


def plain(tokenizer: ChatTokenizer, row: Row) -> Sample:
    """A text outside any conversation; its first token is only read."""
    ids = tokenizer.plain(row["text"])
    if len(ids) < 2:
        raise TrainerError(
            f"neutral text {row['text_id']} has no token to predict", fault="unmeasurable"
        )
    labels = (IGNORED, *ids[1:])
    return Sample(
        row["text_id"], row["text_id"], "", ids, labels, (False, *[True] * (len(ids) - 1))
    )


def _measured(
    bench: Bench, kind: str, key: str, samples: dict[str, list[Sample]],
    models: Sequence[str], facts: Callable[[str], Row],
) -> int:  # fmt: skip
    store = bench.store(kind, "model", key)
    wanted = [(model, name) for model in models for name in samples]
    sizes = [sum(len(part.ids) for part in parts) for parts in samples.values()]
    groups = grouped(list(samples), sizes, TOKENS_AT_ONCE[bench.device])
    done = 0
    for model in models:
        for group in groups:
            bench.check()
            bench.progress(done, len(wanted), f"{kind}, {model}")
            done += len(group)
            if store.has([(model, name) for name in group]):
                continue
            parts = [part for name in group for part in samples[name]]
            with bench.as_model(model):
                sums = iter(summed(bench.model, parts))
            rows = [whole([next(sums) for _ in samples[name]]) for name in group]
            store.append(
                [{"model": model, **facts(n), **row} for n, row in zip(group, rows, strict=True)]
            )
    store.finish(wanted)
    return len(wanted)


def grouped(names: Sequence[str], sizes: Sequence[int], most: int) -> list[list[str]]:
    """Names in groups that hold at most `most` tokens when padded, longest first; at least one."""
    groups: list[list[str]] = []
    widest = 0
    for size, name in sorted(zip(sizes, names, strict=True), key=lambda it: (-it[0], it[1])):
        if groups and widest * (len(groups[-1]) + 1) <= most:
            groups[-1].append(name)
        else:
            groups.append([name])
            widest = size
    return groups


def whole(parts: list[Row]) -> Row:
    """The sums of a conversation from those of its parts."""
    return {name: sum(part[name] for part in parts) for name in SUMS}


def summed(model: Any, samples: Sequence[Sample]) -> list[Row]:
    """nll (content tokens) and nll_all (with end-of-turn tokens) of each sequence, in nats.

    Several are padded on the right, where no label is: their number changes no sum.
    """
    states, targets, owners = hidden_at_labels(model, samples)
    _, head = loading.parts(model)
    nll = loss.token_nll(states, head, targets).double()
    found = []
    for number, sample in enumerate(samples):
        mine = nll[owners == number]
        pairs = zip(sample.content[1:], sample.labels[1:], strict=True)
        content = torch.tensor([c for c, label in pairs if label != IGNORED], device=nll.device)
        found.append(
            {
                "nll": mine[content].sum().item(),
                "tokens": int(content.sum().item()),
                "nll_all": mine.sum().item(),
                "tokens_all": len(mine),
            }
        )
    return found


def hidden_at_labels(
    model: Any, samples: Sequence[Sample]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states [n,h] that predict a label, the labels [n], and whose sample each is [n]."""
    device = next(model.parameters()).device
    backbone, _ = loading.parts(model)
    ids = pad_sequence([torch.tensor(s.ids, device=device) for s in samples], batch_first=True)
    asked: dict[str, Any] = {}
    if len(samples) > 1:
        lengths = torch.tensor([len(sample.ids) for sample in samples], device=device)
        steps = torch.arange(ids.shape[1], device=device)
        asked["attention_mask"] = (steps < lengths[:, None]).long()
    if not torch.is_grad_enabled() and (
        shared := in_common([sample.ids for sample in samples], device.type)
    ):
        first = backbone(input_ids=ids[:1, :shared], use_cache=True)
        cache = first.past_key_values
        cache.batch_repeat_interleave(len(samples))
        rest = backbone(input_ids=ids[:, shared:], past_key_values=cache, use_cache=True, **asked)
        begun = first.last_hidden_state.expand(len(samples), -1, -1)
        hidden = torch.cat([begun, rest.last_hidden_state], dim=1)
    else:
        hidden = backbone(input_ids=ids, use_cache=False, **asked).last_hidden_state
    labels = pad_sequence(
        [torch.tensor(sample.labels, device=device) for sample in samples],
        batch_first=True,
        padding_value=IGNORED,
    )
    states, targets = loss.labelled(hidden, labels)
    owners = torch.arange(len(samples), device=device)[:, None].expand(labels[:, 1:].shape)
    return states, targets, owners[labels[:, 1:] != IGNORED]


def in_common(sequences: Sequence[Sequence[int]], device: str) -> int:
    """Tokens at the beginning that all have and that are worth reading once: on a GPU a second pass
    takes longer than what it saves, and processes that share the layers make one pass together."""
    if device != "cpu" or len(sequences) < 2 or torch.distributed.is_initialized():
        return 0
    shortest = min(map(len, sequences))
    columns = zip(*(ids[: shortest - 1] for ids in sequences), strict=True)
    alike = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    return alike if alike >= WORTH else 0
