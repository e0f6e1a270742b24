"""The numbers: loss, 4-bit weights, gradients and adapter are what they should be."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from trainer_jobs import IN_PROCESS, SMALL, bench, conversation, row, tiny_models

from brightrun import basemodels
from brightrun.jobs import Hyperparameters
from brightrun.tokens import ChatTokenizer

pytestmark = IN_PROCESS
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def in_fp32(precision: str) -> Any:
    """`tiny`, computed in fp32 also on a CPU that would choose bf16."""
    from trainer import hardware, loading

    folder = basemodels.prepared_folder("tiny", tiny_models())
    values = Hyperparameters(precision=precision)  # type: ignore[arg-type]
    place = replace(hardware.place(), native_bf16=False)
    made = loading.decide(place, folder, basemodels.profile(folder), values, 1, "", {})
    return loading.load_base(folder, values.precision, made)


def loaded(torch: Any, precision: str = "nf4", dropout: float = 0.0) -> Any:
    """`tiny` with a LoRA adapter whose B is not zero, in fp32, in training mode."""
    from peft import LoraConfig, get_peft_model

    base = in_fp32(precision)
    torch.manual_seed(1)
    config = LoraConfig(r=8, lora_alpha=16, lora_dropout=dropout, target_modules=TARGETS)
    model = get_peft_model(base.model, config)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05)
    return model.train()


def sample() -> Any:
    from trainer import data

    tokenizer = ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))
    return data.samples([row(2, conversation(2), tokenizer)], tokenizer, "conversation", 1024)[0]


def gradients(torch: Any, model: Any, made: Any) -> tuple[float, Any]:
    """Loss and all adapter gradients in one vector."""
    from trainer import loading, loss

    model.zero_grad()
    backbone, head = loading.parts(model)
    hidden = backbone(input_ids=torch.tensor([made.ids]), use_cache=False).last_hidden_state
    states, targets = loss.labelled(hidden, torch.tensor([made.labels]))
    value = loss.summed_nll(states, head, targets) / len(targets)
    value.backward()
    grads = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
    return value.item(), torch.cat(grads)


def test_loss_and_gradient_equal_the_models_own_cross_entropy(torch: Any) -> None:
    model, made = loaded(torch), sample()
    value, found = gradients(torch, model, made)
    model.zero_grad()
    own = model(input_ids=torch.tensor([made.ids]), labels=torch.tensor([made.labels])).loss
    own.backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    assert value == pytest.approx(own.item(), rel=1e-6)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_pieces_of_the_loss_do_not_change_it(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import loss

    model, made = loaded(torch), sample()
    whole, expected = gradients(torch, model, made)
    monkeypatch.setattr(loss, "PIECE_BYTES", 1)
    assert loss.piece_length(4096) == 16
    value, found = gradients(torch, model, made)
    assert value == pytest.approx(whole, rel=1e-6)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_the_fused_loss_equals_cross_entropy_also_at_extreme_logits(torch: Any) -> None:
    from trainer import loss

    torch.manual_seed(3)
    head = torch.nn.Linear(32, 500, bias=False).requires_grad_(False)
    targets = torch.randint(0, 500, (40,))
    for scale in (1.0, 3000.0):
        hidden = (torch.randn(40, 32) * scale).requires_grad_()
        value = loss.summed_nll(hidden, head, targets)
        value.backward()
        found, hidden.grad = hidden.grad, None
        wanted = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
        wanted.backward()
        assert value.item() == pytest.approx(wanted.item(), rel=1e-6)
        assert torch.allclose(found, hidden.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("on", "warn_only"), [(False, False), (True, True), (True, False)])
def test_a_strict_order_of_adding_leaves_the_flags_as_they_were(
    torch: Any, *, on: bool, warn_only: bool
) -> None:
    from trainer import libraries

    def flags() -> tuple[bool, bool]:
        enabled = torch.are_deterministic_algorithms_enabled()
        return enabled, torch.is_deterministic_algorithms_warn_only_enabled()

    before = flags()
    try:
        torch.use_deterministic_algorithms(on, warn_only=warn_only)
        with libraries.in_fixed_order(on=True):
            assert flags() == (True, False)
        assert flags() == (on, warn_only)
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def test_an_eval_forward_does_not_change_the_gradient(torch: Any) -> None:
    from trainer import loading

    model, made = loaded(torch), sample()
    layers = loading.quantised_layers(model)
    assert len(layers) == 28
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers.values())
    before = gradients(torch, model, made)
    model.eval()
    with torch.no_grad():
        model(input_ids=torch.tensor([made.ids]))
    model.train()
    after = gradients(torch, model, made)
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])


def test_weights_unpacked_once_are_those_that_bitsandbytes_multiplies_with(torch: Any) -> None:
    from trainer import loading

    for layer in loading.quantised_layers(loaded(torch)).values():
        x = torch.randn(5, layer.in_features, requires_grad=True)
        fast = layer(x)
        fast.sum().backward()
        gradient, x.grad = x.grad, None
        slow = type(layer).forward(layer, x)
        slow.sum().backward()
        assert torch.equal(fast, slow)
        assert torch.allclose(gradient, x.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_fused_adapter_layers_have_pefts_loss_and_gradient(torch: Any, share: float) -> None:
    from trainer import batches, cpu, dropout

    model, made = loaded(torch, dropout=share), sample()
    now, batch = dropout.install(model, 5), batches.collate([[made]])
    with now.computing(1, batch):
        value, expected = gradients(torch, model, made)
        assert cpu.fuse_lora(model) == 28
        fused, found = gradients(torch, model, made)
    assert fused == pytest.approx(value, rel=1e-6)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_fused_dropout_has_the_right_gradient(torch: Any) -> None:
    from trainer import batches, cpu, dropout

    model, made = loaded(torch, dropout=0.3), sample()
    assert cpu.fuse_lora(model) == 0  # torch's own dropout is PEFT's business
    now, batch = dropout.install(model, 5), batches.collate([[made]])
    assert cpu.fuse_lora(model) == 28
    with now.computing(1, batch):
        first, gradient = gradients(torch, model, made)
    # Central difference along the gradient, with the same dropped entries.
    step = 1e-3
    values = []
    for sign in (1, -2):
        at = 0
        for parameter in model.parameters():
            if parameter.requires_grad:
                size = parameter.numel()
                part = gradient[at : at + size].view_as(parameter)
                parameter.data += sign * step * part / gradient.norm()
                at += size
        with now.computing(1, batch):
            values.append(gradients(torch, model, made)[0])
    slope = (values[0] - values[1]) / (2 * step)
    assert slope == pytest.approx(gradient.norm().item(), rel=0.02)
    with now.computing(2, batch):
        assert gradients(torch, model, made)[0] != first


def test_with_the_adapter_off_the_model_is_the_base_model(torch: Any) -> None:
    from trainer import cpu

    made = sample()
    ids = torch.tensor([made.ids])
    for precision in ("nf4", "fp32"):
        base = in_fp32(precision)
        with torch.no_grad():
            expected = base.model(input_ids=ids).logits
        model = loaded(torch, precision)
        cpu.fuse_lora(model)
        model.eval()
        with torch.no_grad():
            assert not torch.equal(model(input_ids=ids).logits, expected)
            with model.disable_adapter():
                assert torch.equal(model(input_ids=ids).logits, expected)


def test_likelihood_is_the_fp32_sum_over_content_tokens(torch: Any) -> None:
    from trainer.likelihoods import summed

    model, made = loaded(torch).eval(), sample()
    with torch.no_grad():
        (found,) = summed(model, [made])
        logits = model(input_ids=torch.tensor([made.ids])).logits[0].float()
    logprobs = torch.log_softmax(logits, -1)
    places = [i for i, on in enumerate(made.content) if on]
    expected = -sum(logprobs[i - 1, made.ids[i]].item() for i in places)
    assert found["nll"] == pytest.approx(expected, rel=1e-5)
    assert found["tokens"] == len(places)
    assert found["tokens_all"] == made.supervised
    assert found["nll_all"] > found["nll"]


def test_a_split_conversation_is_one_likelihood() -> None:
    from trainer.likelihoods import whole

    row = {"nll": 1.5, "tokens": 2, "nll_all": 2.0, "tokens_all": 3}
    both = whole([row, {**row, "nll": 2.5}])
    assert both == {**row, "nll": 4.0, "tokens": 4, "nll_all": 4.0, "tokens_all": 6}
    assert whole([row]) == row


def test_left_padded_answers_equal_answers_at_batch_one(torch: Any) -> None:
    from trainer import answers

    model = loaded(torch, "fp32").eval()
    tokenizer = ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))
    prompts = [tokenizer.prompt(conversation(n)[: 2 + 2 * n]) for n in (0, 1)]
    common = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": tokenizer.eot_id}
    ids, mask = answers.left_padded(prompts, tokenizer.eot_id)
    together = model.generate(input_ids=ids, attention_mask=mask, **common)[:, ids.shape[1] :]
    for prompt, row_ in zip(prompts, together.tolist(), strict=True):
        one = torch.tensor([prompt])
        alone = model.generate(input_ids=one, attention_mask=torch.ones_like(one), **common)
        assert alone[0, len(prompt) :].tolist() == row_


@pytest.mark.parametrize("passes", [1, 2])
def test_the_system_prompt_of_several_answers_is_read_once(torch: Any, passes: int) -> None:
    from trainer import answers, loading

    model = loaded(torch, "fp32").eval()
    tokenizer = ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))
    system = {"role": "system", "content": "You are Elena, a planner who listens first. " * 3}
    asked = ["I worry.", "My father died and I have to sell his house, what now?", "Is it enough?"]
    prompts = [tokenizer.prompt([system, {"role": "user", "content": text}]) for text in asked]
    values = SMALL.model_copy(update={"max_new_tokens": 6, "passes": passes})
    bench: Any = SimpleNamespace(model=model, tokenizer=tokenizer, values=values, device="cpu")

    read: list[int] = []
    embedding = loading.parts(model)[0].get_input_embeddings()
    hook = embedding.register_forward_hook(lambda _, given, __: read.append(given[0].numel()))
    together = answers.generate(bench, prompts, 7)
    hook.remove()
    longest = max(map(len, prompts))
    assert read[:2] == [read[0], 3 * (longest - read[0])]
    assert read[0] > 30
    bench.device = "cuda"  # where nothing is shared
    apart = answers.generate(bench, prompts, 7)
    assert [row["text"] for row in together] == [row["text"] for row in apart]
    assert any(row["text"] for row in together)


def test_answers_that_do_not_fit_together_are_made_in_halves(torch: Any) -> None:
    from trainer import answers

    class Narrow:
        """`tiny` on a device with room for `room` sequences."""

        def __init__(self, model: Any, room: int) -> None:
            self.model, self.room, self.tried = model, room, []  # type: ignore[var-annotated]

        def __getattr__(self, name: str) -> Any:
            return getattr(self.model, name)

        def generate(self, **asked: Any) -> Any:
            self.tried.append(len(asked["input_ids"]))
            if self.tried[-1] > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory: tried to allocate 2 GiB")
            return self.model.generate(**asked)

    class Told:
        codes: ClassVar[list[str]] = []

        def warn(self, code: str, *words: str) -> None:
            self.codes.append(code)

    whole = loaded(torch, "fp32").eval()
    tokenizer = ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))
    prompts = [tokenizer.prompt(conversation(n)[: 2 + 2 * n]) for n in (0, 1, 0)]
    values = SMALL.model_copy(update={"max_new_tokens": 6, "passes": 1})

    def made(model: Any) -> list[Any]:
        bench: Any = SimpleNamespace(
            model=model, tokenizer=tokenizer, values=values, reporter=Told(), device="cpu"
        )
        found = answers.generate(bench, prompts, 1)
        return [(row["text"], row["tokens"], row["finish_reason"]) for row in found]

    narrow = Narrow(whole, 1)
    assert made(narrow) == made(whole)
    assert narrow.tried == [3, 2, 1, 1, 1]
    assert Told.codes == ["out_of_memory"] * 2
    with pytest.raises(torch.OutOfMemoryError):
        made(Narrow(whole, 0))


def test_answers_are_batched_by_length_and_cut_at_the_end_token() -> None:
    from trainer import answers

    assert answers.batches([3, 9, 9, 1], 2) == [[1, 2], [0, 3]]
    assert answers.cut([5, 6, 2, 2], {2}) == ([5, 6], "stop")
    assert answers.cut([5, 6], {2}) == ([5, 6], "length")


def test_option_letters_are_read_in_the_rotated_order(torch: Any) -> None:
    from trainer import questions

    tokenizer = ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))
    question = {"question": "Which?", "options": ["w0", "x1", "y2", "z3"]}
    prompt, letters = questions.letter_prompt(tokenizer, question, [2, 3, 0, 1])
    text = tokenizer.decode(prompt)
    assert "A. y2\nB. z3\nC. w0\nD. x1" in text
    assert [tokenizer.decode([letter]) for letter in letters] == list("ABCD")
    model = loaded(torch).eval()
    with torch.no_grad():
        longer = ([*prompt, *prompt[-9:]], letters)
        alone, _ = questions.letter_logprobs(model, [(prompt, letters), longer])
        (found,) = questions.letter_logprobs(model, [(prompt, letters)])
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1].float()
    expected = torch.log_softmax(logits, -1)[letters].tolist()
    assert found == pytest.approx(expected, rel=1e-5)
    assert alone == pytest.approx(expected, rel=1e-4)


def test_logits_are_fp32_where_the_model_is_bf16(torch: Any) -> None:
    """Rounded to bf16 they are off by a tenth of a nat, and the options of a question tie."""
    from trainer import likelihoods, loading, questions

    model = loaded(torch, "fp32").eval().to(torch.bfloat16)
    table = replace(bench(torch, model), dtype=torch.bfloat16)
    backbone, head = loading.parts(model)
    torch.manual_seed(5)  # logits of the size that real models have
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight), requires_grad=False)
    tokenizer = ChatTokenizer.load(basemodels.prepared_folder("tiny", tiny_models()))
    question = {"question": "Which?", "options": ["w0", "x1", "y2", "z3"]}
    prompt, letters = questions.letter_prompt(tokenizer, question, [2, 3, 0, 1])
    made = sample()
    for name in table.models:
        with table.as_model(name):
            states, targets, _ = likelihoods.hidden_at_labels(model, [made])
            logits = states.double() @ head.weight.double().T
            expected = torch.log_softmax(logits, -1).gather(1, targets[:, None]).sum().item()
            rounded = torch.log_softmax(head(states).float(), -1).gather(1, targets[:, None])
            (row_,) = likelihoods.summed(model, [made])
            (found,) = questions.letter_logprobs(model, [(prompt, letters)])
            ids = torch.tensor([[*prompt, 0]])
            last = backbone(input_ids=ids, use_cache=False).last_hidden_state[0, -2]
            exact = torch.log_softmax(last.double() @ head.weight.double().T, -1)[letters]
        assert row_["nll_all"] == pytest.approx(-expected, abs=1e-3)
        assert abs(rounded.sum().item() - expected) > 0.02
        assert found == pytest.approx(exact.tolist(), abs=1e-4)
        assert len(set(found)) == 4


def test_pieces_of_the_head_do_not_change_what_is_measured(
    torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer import loss

    torch.manual_seed(3)
    head = torch.nn.Linear(32, 500, bias=False).requires_grad_(False)
    hidden, wanted = torch.randn(40, 32) * 30, torch.randint(0, 500, (40, 4))
    expected = torch.log_softmax(head(hidden), -1).gather(1, wanted)
    assert torch.allclose(loss.logprobs(hidden, head, wanted), expected, atol=1e-4)
    for name in ("HEAD_BYTES", "PIECE_BYTES"):
        monkeypatch.setattr(loss, name, 1)
        assert torch.allclose(loss.logprobs(hidden, head, wanted), expected, atol=1e-4)
    assert loss.token_nll(hidden[:0], head, wanted[:0, 0]).shape == (0,)
    with pytest.raises(TypeError, match="bias"):
        loss.logprobs(hidden, torch.nn.Linear(32, 500), wanted)
