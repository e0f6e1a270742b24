"""How a step is cut never changes its loss or gradient, dropout included; packed conversations do
not meet."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from trainer_jobs import IN_PROCESS, altered, conversation, row, tiny_models

from brightrun import basemodels
from brightrun.durations import MAX_PADDING
from brightrun.tokens import ChatTokenizer
from trainer import packing

pytestmark = IN_PROCESS


@pytest.fixture(scope="module")
def model(torch: Any) -> Any:
    """`tiny` in fp32 with an adapter whose B is not zero, and the dropout of the trainer."""
    from peft import LoraConfig, get_peft_model

    from trainer import dropout, loading

    base = loading.load_base(basemodels.prepared_folder("tiny", tiny_models()), "fp32")
    torch.manual_seed(1)
    config = LoraConfig(r=8, lora_dropout=0.2, target_modules=["q_proj", "down_proj"])
    made = altered(get_peft_model(base.model, config))
    made.now = dropout.install(made, 7)
    return made


def step_of(tokenizer: ChatTokenizer, sequence: str = "conversation", count: int = 5) -> list[Any]:
    """Sequences of five conversations of quite different length."""
    from trainer import data

    rows = [row(n, conversation(n, 1 + 2 * (n % 3)), tokenizer) for n in range(count)]
    return data.samples(rows, tokenizer, sequence, 4096)  # type: ignore[arg-type]


def loss_and_gradient(
    torch: Any, model: Any, micro: list[Any], *, dropped: bool = True
) -> tuple[float, Any]:
    """Of a whole step, as the trainer computes it; or without dropout."""
    from trainer import loading, loss

    model.train(dropped)
    model.zero_grad()
    backbone, head = loading.parts(model)
    supervised, total = sum(len(batch.targets) for batch in micro), 0.0
    for batch in micro:
        with model.now.computing(3, batch):
            hidden = backbone(input_ids=batch.ids, position_ids=batch.positions, use_cache=False)
            states = hidden.last_hidden_state.flatten(0, 1).index_select(0, batch.places)
            part = loss.summed_nll(states, head, batch.targets) / supervised
            part.backward()
        total += part.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


@pytest.mark.parametrize("sequence", ["conversation", "pair"])
def test_loss_and_gradient_do_not_depend_on_the_micro_batch(
    torch: Any, model: Any, tokenizer: ChatTokenizer, sequence: str
) -> None:
    from trainer import batches

    samples = step_of(tokenizer, sequence)
    one = batches.cut(samples, batches.Cut(1))
    assert [len(batch.ids) for batch in one] == [1] * len(samples)
    value, gradient = loss_and_gradient(torch, model, one)
    for micro_batch in (2, 4):
        micro = batches.cut(samples, batches.Cut(micro_batch))
        assert len(micro) < len(one)
        found, other = loss_and_gradient(torch, model, micro)
        assert found == pytest.approx(value, rel=1e-6)
        assert (other - gradient).norm() < 1e-5 * gradient.norm()


def test_pairs_and_conversations_have_the_same_gradient(
    torch: Any, model: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer import batches

    cuts = [
        batches.cut(step_of(tokenizer, kind), batches.Cut(2)) for kind in ("conversation", "pair")
    ]
    found = [loss_and_gradient(torch, model, micro, dropped=False) for micro in cuts]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert (found[0][1] - found[1][1]).norm() < 1e-5 * found[0][1].norm()


@pytest.mark.parametrize("rows_at_once", [1, 2])
def test_packed_loss_and_gradient_equal_separate_ones(
    torch: Any, model: Any, tokenizer: ChatTokenizer, rows_at_once: int
) -> None:
    from trainer import batches

    samples = step_of(tokenizer)
    longest = max(len(sample.ids) for sample in samples)
    value, gradient = loss_and_gradient(torch, model, batches.cut(samples, batches.Cut(1)))
    packed = batches.cut(samples, batches.Cut(rows_at_once, row=longest))
    assert len(packed) < len(samples)
    assert any(batch.positions is not None for batch in packed)
    assert batches.padding_share(packed) == 0
    found, other = loss_and_gradient(torch, model, packed)
    assert found == pytest.approx(value, rel=1e-5)
    assert (other - gradient).norm() < 1e-5 * gradient.norm()


def test_packed_conversations_cannot_see_each_other(
    torch: Any, model: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer import batches, loading

    def hidden(samples: list[Any]) -> Any:
        batch = batches.collate([samples])
        model.eval()
        with torch.no_grad():
            backbone = loading.parts(model)[0]
            states = backbone(input_ids=batch.ids, position_ids=batch.positions, use_cache=False)
        return states.last_hidden_state[0]

    first, second, third = step_of(tokenizer, count=6)[:3]
    # The same number of tokens, all of them others.
    changed = [dataclasses.replace(s, ids=tuple(reversed(s.ids))) for s in (first, third)]
    begin, end = len(first.ids), len(first.ids) + len(second.ids)
    before = hidden([first, second, third])
    after = hidden([changed[0], second, changed[1]])
    assert torch.equal(before[begin:end], after[begin:end])
    assert not torch.allclose(before[:begin], after[:begin])
    assert torch.allclose(before[begin:end], hidden([second]), atol=1e-5)


def test_no_first_token_is_predicted_from_another_conversation(tokenizer: ChatTokenizer) -> None:
    from trainer import batches

    samples = step_of(tokenizer)
    labelled = [
        dataclasses.replace(s, labels=s.ids, content=tuple(True for _ in s.ids)) for s in samples
    ]
    batch = batches.collate([labelled])
    assert len(batch.targets) == sum(len(s.ids) - 1 for s in labelled)
    starts = [sum(len(s.ids) for s in labelled[:n]) for n in range(1, len(labelled))]
    assert not set(batch.places.tolist()) & {start - 1 for start in starts}
    assert batch.positions is not None
    assert [batch.positions[0, start].item() for start in starts] == [0] * len(starts)


def test_groups_are_of_neighbouring_length_with_a_bounded_padding_share() -> None:
    from trainer import batches

    lengths = [100, 900, 1000, 120, 950, 90, 110, 300]
    made = batches.groups(lengths, batches.Cut(4))
    assert made == [[2, 4, 1], [7], [3, 6, 0, 5]]
    assert batches.groups(lengths, batches.Cut(1)) == [[2], [4], [1], [7], [3], [6], [0], [5]]
    for group in batches.groups(list(range(50, 1500, 37)), batches.Cut(8)):
        longest = max(50 + 37 * at for at in group) * len(group)
        assert 1 - sum(50 + 37 * at for at in group) / longest <= MAX_PADDING


def test_rows_are_filled_best_fit_decreasing() -> None:
    assert packing.rows([4, 8, 1, 4, 2, 1], 10) == [[1, 4], [0, 3, 2, 5]]
    assert packing.rows([5], 5) == [[0]]
    with pytest.raises(ValueError, match="6 tokens"):
        packing.rows([6], 5)


def test_short_sequences_share_a_micro_step_of_so_many_tokens() -> None:
    from trainer import batches

    lengths = [3000, 1400, 1300, 600, 500, 90, 2900]
    made = batches.groups(lengths, batches.Cut(1, tokens=3000))
    assert made == [[0], [6], [1, 2], [3, 4, 5]]  # 3 x 600 tokens: padding is free up to 2,048
    for group in made:
        assert max(lengths[at] for at in group) * len(group) <= 3000
    counted = batches.groups(lengths, batches.Cut(1))
    assert len(counted) == len(lengths)
    twice = batches.groups(lengths, batches.Cut(1, tokens=6000))
    assert twice == [[0, 6], [1, 2], [3, 4, 5]]  # 3 x 1,400 would pad more than a fifth


def test_grouped_sequences_give_the_loss_and_gradient_of_single_ones(
    torch: Any, model: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer import batches

    samples = step_of(tokenizer)
    longest = max(len(sample.ids) for sample in samples)
    grouped = batches.cut(samples, batches.Cut(1, tokens=longest))
    single = batches.cut(samples, batches.Cut(1))
    assert len(grouped) < len(single)
    together, apart = (loss_and_gradient(torch, model, cut) for cut in (grouped, single))
    assert together[0] == pytest.approx(apart[0], rel=1e-5)
    assert (together[1] - apart[1]).norm() < 1e-4 * apart[1].norm()
