"""Which kernels, weights, optimizer and batch a pod uses: a table of (model, GPU, memory)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from brightrun import durations, gpus
from brightrun.durations import GROUPED_TOKENS
from brightrun.errors import ConfigurationError
from brightrun.physics import LLAMA_3_70B, SMOLLM2, ModelProfile
from trainer import choices, room, telemetry, weights
from trainer.batches import Cut, groups
from trainer.choices import Choices, choose
from trainer.overrides import checked
from trainer.wishes import Choice, Place, Wish

LLAMA_8B = ModelProfile("8B", 8.03e9, 4096, 32, 128_256, 14_336, 0.25)
ALL = frozenset({"flash_attn", "liger_kernel"})
H100 = Place("cuda", 80, "H100", (9, 0), packages=ALL)
A100_40 = Place("cuda", 40, "A100", (8, 0), packages=ALL)
L4 = Place("cuda", 24, "L4", (8, 9), packages=ALL)
T4 = Place("cuda", 16, "T4", (7, 5), packages=ALL)
CPU = Place("cpu", 16)
WISH = Wish("nf4", 16, 4096, True, "paged_adamw_32bit", "llama")


FP32 = replace(WISH, precision="fp32")


def values(made: Choices) -> dict[str, Any]:
    return {field.name: getattr(made, field.name).value for field in fields(made)}


@pytest.mark.parametrize(
    ("place", "model", "longest", "expected"),
    [
        # 54 of 80 GB with one conversation of 4,096 tokens; three would fit and gain nothing.
        (H100, LLAMA_3_70B, 4096, {"micro_batch": 2, "gradient_checkpointing": True}),
        (H100, LLAMA_3_70B, 8192, {"micro_batch": 1, "optimizer": "adamw_torch_fused"}),
        (H100, LLAMA_3_70B, 256, {"gradient_checkpointing": False, "micro_batch": 2}),
        (H100, LLAMA_8B, 4096, {"micro_batch": 1, "gradient_checkpointing": False}),
        (H100, LLAMA_8B, 2048, {"gradient_checkpointing": False, "micro_batch": 3}),
        (A100_40, LLAMA_3_70B, 4096, {"micro_batch": 1, "optimizer": "paged_adamw_32bit"}),
        (A100_40, LLAMA_8B, 4096, {"micro_batch": 2, "attention": "flash_attention_2"}),
        (L4, LLAMA_8B, 4096, {"micro_batch": 2, "gradient_checkpointing": True, "liger": True}),
        (L4, LLAMA_3_70B, 4096, {"micro_batch": 1, "activation_tokens": 0}),
        (T4, LLAMA_8B, 2048, {"dtype": "float32", "attention": "sdpa", "varlen": False}),
        (CPU, SMOLLM2, 4096, {"dtype": "float32", "attention": "sdpa", "micro_batch": 1,
                              "liger": False, "optimizer": "paged_adamw_32bit",
                              "activation_tokens": None, "gradient_checkpointing": True}),
        (replace(CPU, native_bf16=True), SMOLLM2, 4096, {"dtype": "bfloat16"}),
    ],
)  # fmt: skip
def test_choices_of_a_table_of_machines(
    place: Place, model: ModelProfile, longest: int, expected: dict[str, Any]
) -> None:
    made = choose(place, model, replace(WISH, longest=longest))
    found = values(made)
    assert {name: found[name] for name in expected} == expected
    reasons = made.reasons()
    assert len(reasons) == len(found)
    assert all(reason.partition(": ")[2] for reason in reasons)


@pytest.mark.parametrize(
    ("precision", "place", "expected"),
    [
        ("nf4", H100, "bfloat16"),
        ("nf4", replace(CPU, native_bf16=True), "bfloat16"),
        ("nf4", CPU, "float32"),
        ("bf16", CPU, "float32"),
        ("fp32", H100, "float32"),
    ],
)
def test_number_format_follows_from_precision_and_hardware(
    precision: Any, place: Place, expected: str
) -> None:
    assert choices.compute_dtype(precision, place).value == expected


def test_flash_attention_needs_package_capability_and_bf16() -> None:
    assert choices.attention(H100, "bfloat16").value == "flash_attention_2"
    assert choices.varlen("flash_attention_2").value
    for place, dtype in ((replace(H100, packages=frozenset()), "bfloat16"), (T4, "bfloat16"),
                         (H100, "float32"), (CPU, "bfloat16")):  # fmt: skip
        found = choices.attention(place, dtype)  # type: ignore[arg-type]
        assert found.value == "sdpa"
        assert not choices.varlen(found.value).value
    assert (
        "not installed" in choices.attention(replace(H100, packages=frozenset()), "bfloat16").reason
    )


def test_short_sequences_share_a_row_where_attention_knows_their_borders() -> None:
    made = choose(H100, LLAMA_3_70B, WISH)
    assert (made.packed.value, made.packed.reason) == (4096, made.varlen.reason)
    without = replace(H100, packages=frozenset({"liger_kernel"}))
    assert choose(without, LLAMA_3_70B, WISH).packed == Choice(
        0, "sdpa masks what lies between packed conversations, at full cost"
    )
    assert choose(H100, LLAMA_3_70B, replace(WISH, packing=False)).packed.value == 0
    assert choose(H100, LLAMA_3_70B, WISH, {"attention": "sdpa"}).packed.value == 0
    assert choose(CPU, SMOLLM2, WISH).packed.value == 0
    asked = replace(WISH, packing=True, max_length=512)
    assert choose(CPU, SMOLLM2, asked).packed.value == 512
    refused = choose(without, LLAMA_3_70B, replace(WISH, packing=True)).packed.value
    assert refused == 0  # `packing.check` says so


def test_liger_is_for_known_families_on_a_gpu() -> None:
    assert choices.liger(H100, WISH).value
    assert choices.liger(H100, replace(WISH, family="qwen2")).value
    assert not choices.liger(H100, replace(WISH, family="gemma")).value
    assert not choices.liger(replace(H100, packages=frozenset({"flash_attn"})), WISH).value
    assert not choices.liger(replace(CPU, packages=ALL), WISH).value


@pytest.mark.parametrize(("place", "model"), [(H100, LLAMA_3_70B), (L4, LLAMA_8B)])
def test_what_is_chosen_fits_by_the_estimate_and_one_more_would_not(
    place: Place, model: ModelProfile
) -> None:
    usable = place.memory_gb * room.USABLE
    place = replace(place, element_bytes=room.each("bfloat16", liger=True))
    most = room.recomputed_tokens(place, model, WISH)
    assert room.estimate(place, model, WISH, most) <= usable
    assert room.estimate(place, model, WISH, most + 2) > usable
    made = choose(place, model, WISH)
    assert made.micro_batch.value * WISH.longest <= most < (made.micro_batch.value + 1) * 4096 * 2
    # More memory never makes a batch smaller but to compute nothing twice, and a smaller model
    # keeps more activations.
    more = choose(replace(place, memory_gb=2 * place.memory_gb), model, WISH)
    assert more.micro_batch.value >= made.micro_batch.value or not more.gradient_checkpointing.value
    assert room.kept_tokens(place, model, WISH) < room.kept_tokens(place, SMOLLM2, WISH)


def test_activations_are_small_only_where_liger_computes_them_in_bf16() -> None:
    each = room.each
    assert (
        each("bfloat16", liger=True) < each("bfloat16", liger=False) < each("float32", liger=True)
    )
    wide = {"dtype": "float32"}
    kept = [
        choose(H100, LLAMA_8B, WISH, given).activation_tokens.value or 0
        for given in ({}, {"liger": False}, wide, {**wide, "liger": False})
    ]
    assert kept[0] > 2 * kept[1] > 3.9 * kept[2] > 0
    assert kept[2] == kept[3]
    assert 0 < (choose(H100, LLAMA_8B, FP32).activation_tokens.value or 0) < kept[2]


@pytest.mark.parametrize("longest", [300, 700, 2000, 4096, 8192, 9619])
def test_run_and_estimate_agree_how_many_tokens_are_computed_at_once(longest: int) -> None:
    made = choose(H100, LLAMA_3_70B, replace(WISH, longest=longest))
    assert made.grouped.value
    most = max(longest, made.grouped_tokens.value)
    lengths = [longest, *[250] * 400]
    tokens = sum(lengths)
    work = durations.Work(
        train_tokens=tokens, sum_squared_tokens=0, supervised_tokens=tokens, sequences=401,
        longest=longest, epochs=1, steps=1,
    )  # fmt: skip
    computed = [len(group) for group in groups(lengths, Cut(made.micro_batch.value, None, most))]
    assert max(computed) <= max(most // 250, 1)
    if made.grouped_tokens.value == GROUPED_TOKENS:
        assert most == max(longest, 8192)
        assert len(computed) <= work.grouped_micro_steps <= 1.35 * len(computed)
    # Asked for more or fewer of the longest, it is so many tokens.
    two = choose(H100, LLAMA_3_70B, replace(WISH, longest=longest), {"micro_batch": 2})
    assert two.grouped_tokens.value == 2 * longest


def test_memory_that_is_tight_pages_the_optimizer() -> None:
    large = replace(WISH, lora_r=256, longest=4096)
    assert choose(H100, LLAMA_3_70B, large).optimizer.value == "paged_adamw_32bit"
    assert choose(H100, LLAMA_3_70B, replace(WISH, longest=8192)).optimizer.value == (
        "adamw_torch_fused"
    )


def test_a_spec_without_checkpointing_stays_without_it() -> None:
    off = replace(WISH, gradient_checkpointing=False)
    assert not choose(H100, LLAMA_3_70B, off).gradient_checkpointing.value
    assert not choose(CPU, SMOLLM2, off).gradient_checkpointing.value


def test_a_person_may_spread_what_would_fit() -> None:
    two = replace(H100, processes=2)
    for mode in ("ddp", "fsdp"):
        made = choose(two, LLAMA_8B, WISH, checked({"parallel": mode}, two, WISH))
        assert made.parallel.value == mode


def test_a_person_may_choose_otherwise() -> None:
    given = {"attention": "sdpa", "liger": False, "micro_batch": 7, "activation_tokens": 0}
    made = choose(H100, LLAMA_3_70B, WISH, checked(given, H100, WISH))
    found = values(made)
    assert {name: found[name] for name in given} == given
    assert not made.varlen.value
    assert made.attention.reason == "set by BRIGHTRUN_CHOICES"


@pytest.mark.parametrize(
    ("given", "place", "words"),
    [
        ({"attension": "sdpa"}, H100, "names 'attension'"),
        ({"attention": "flash"}, H100, "sets attention to 'flash'"),
        ({"micro_batch": 0}, H100, "sets micro_batch to 0"),
        ({"micro_batch": True}, H100, "sets micro_batch to True"),
        ({"liger": 1}, H100, "sets liger to 1"),
        ({"liger": True}, CPU, "cannot be here"),
        ({"attention": "flash_attention_2"}, T4, "cannot be here"),
        ({"weights": "as stored"}, H100, "sets weights to 'as stored'"),
        ({"parallel": "fsdp"}, H100, "cannot be here"),
        ({"parallel": "single"}, replace(H100, processes=2), "sets parallel to 'single'"),
    ],
)
def test_an_override_that_is_unknown_or_impossible_is_refused(
    given: dict[str, Any], place: Place, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as found:
        checked(given, place, WISH)
    assert found.value.fix


@pytest.mark.parametrize(
    ("place", "needs", "mend"),
    [
        (L4, r"needs at least 4\d GB in nf4", "several such GPUs"),
        (replace(L4, processes=2), r"needs at least 4\d GB in nf4", "several such GPUs"),
        (
            replace(A100_40, memory_gb=16, shards=2),
            r"needs at least 3\d GB in nf4",
            "use more GPUs",
        ),
    ],
)
def test_a_model_that_no_gpu_can_hold_is_refused_before_it_is_loaded(
    place: Place, needs: str, mend: str
) -> None:
    with pytest.raises(ConfigurationError, match=needs) as found:
        room.check_room(place, LLAMA_3_70B, WISH)
    assert mend in found.value.fix
    assert (found.value.fault, found.value.adjustment) == ("pod_too_small", {})
    with pytest.raises(ConfigurationError) as found:
        room.check_room(place, LLAMA_3_70B, replace(WISH, precision="bf16"))
    assert found.value.adjustment == {"precision": "nf4"}


def test_a_model_that_fits_is_not_refused() -> None:
    room.check_room(H100, LLAMA_3_70B, WISH)
    room.check_room(L4, LLAMA_8B, WISH)
    room.check_room(replace(CPU, memory_gb=1), LLAMA_8B, WISH)


@pytest.mark.parametrize(
    ("place", "model", "longest", "expected"),
    [
        (H100, LLAMA_3_70B, 4096, "single"),
        (replace(H100, processes=2), LLAMA_3_70B, 4096, "ddp"),
        (replace(H100, processes=2), LLAMA_3_70B, 50_000, "fsdp"),
        (replace(A100_40, processes=2), LLAMA_3_70B, 4096, "fsdp"),
        (replace(L4, processes=4), LLAMA_3_70B, 4096, "fsdp"),
        (replace(L4, processes=4), LLAMA_8B, 4096, "ddp"),
        (replace(CPU, processes=2), SMOLLM2, 4096, "ddp"),
    ],
)
def test_a_model_is_spread_when_one_gpu_cannot_hold_it(
    place: Place, model: ModelProfile, longest: int, expected: str
) -> None:
    wish = replace(WISH, longest=longest)
    made = choose(place, model, wish)
    assert made.parallel.value == expected
    assert made.reasons()[0] == f"parallel {expected}: {made.parallel.reason}"
    room.check_room(choices.spread(place, made.parallel.value), model, wish)


def test_a_host_that_cannot_hold_a_copy_for_each_process_is_refused() -> None:
    place = replace(A100_40, processes=4, shards=4, host_gb=128.0)
    with pytest.raises(ConfigurationError, match=r"4 processes .* the host has 128\.0 GB") as found:
        room.check_room(place, LLAMA_3_70B, WISH)
    assert "NF4" in found.value.fix
    room.check_room(replace(place, host_gb=512.0), LLAMA_3_70B, WISH)
    room.check_room(replace(H100, processes=4, host_gb=1.0), LLAMA_3_70B, WISH)  # nothing is spread


def test_a_share_of_70b_fits_into_smaller_gpus_and_more_gpus_hold_less_each() -> None:
    needs = [
        room.estimate(replace(A100_40, shards=shards), LLAMA_3_70B, WISH, 4096)
        for shards in (1, 2, 4, 8)
    ]
    assert needs == sorted(needs, reverse=True)
    # 34 GB of packed layers, of which a quarter and two whole layers stay.
    assert needs[0] - needs[2] == pytest.approx(34.2 * (1 - 1 / 4 - 2 / 80), rel=0.01)
    made = choose(replace(A100_40, processes=4), LLAMA_3_70B, WISH)
    assert made.micro_batch.value * WISH.longest <= room.recomputed_tokens(
        replace(A100_40, shards=4, element_bytes=room.each("bfloat16", liger=True)),
        LLAMA_3_70B,
        WISH,
    )
    assert made.optimizer.value == "paged_adamw_32bit"  # 92 % of the memory by estimate
    more = choose(replace(A100_40, processes=8), LLAMA_3_70B, WISH)
    assert more.optimizer.value == "adamw_torch_fused"


NF4 = {
    "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}  # fmt: skip


def test_stored_nf4_weights_are_recognised_and_preferred() -> None:
    assert weights.stored_nf4({"quantization_config": NF4})
    assert not weights.stored_nf4({})
    assert choices.weights(replace(WISH, stored_nf4=True)).value == "stored nf4"
    assert choices.weights(WISH).value == "quantised while loading"
    assert "stored in NF4 has a quarter to read" in choices.weights(WISH).reason
    assert "every process" in choices.weights(WISH, "fsdp").reason
    with pytest.raises(ConfigurationError, match="hold NF4 weights") as found:
        weights.check_precision(True, "bf16")
    assert found.value.adjustment == {"precision": "nf4"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bnb_4bit_quant_type": "fp4"}, "fp4, not nf4"),
        ({"bnb_4bit_use_double_quant": False}, "without double quantisation"),
        ({"load_in_4bit": False, "load_in_8bit": True}, "8 bit"),
        ({"quant_method": "gptq"}, "gptq"),
    ],
)
def test_any_other_quantisation_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        weights.stored_nf4({"quantization_config": NF4 | change})


def test_packed_weights_count_as_the_parameters_they_stand_for() -> None:
    beside = {
        "a.weight.absmax": ("U8", (16,)), "a.weight.nested_absmax": ("F32", (1,)),
        "a.weight.quant_map": ("F32", (16,)), "a.weight.nested_quant_map": ("F32", (256,)),
        "a.weight.quant_state.bitsandbytes__nf4": ("U8", (90,)), "norm.weight": ("BF16", (64,)),
    }  # fmt: skip
    assert weights.counted({"a.weight": ("U8", (64 * 128 // 2, 1)), **beside}) == 64 * 128 + 64
    # quant_storage bf16, as FSDP wants it: two bytes an element hold four weights.
    assert weights.counted({"a.weight": ("BF16", (64 * 128 // 4, 1)), **beside}) == 64 * 128 + 64
    assert weights.counted({"a.weight": ("BF16", (64, 128))}) == 64 * 128


@pytest.mark.parametrize(
    ("device", "tflops"),
    [
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_a_gpu_is_known_by_the_name_that_the_driver_gives(device: str, tflops: float) -> None:
    found = gpus.known(device)
    assert found is not None
    assert found.tflops == tflops
    assert gpus.mfu(tflops * 1e12, 2.0, device) == pytest.approx(0.5)
    assert gpus.mfu(tflops * 1e12, 2.0, device, count=2) == pytest.approx(0.25)


def test_no_peak_no_utilisation() -> None:
    assert gpus.known("NVIDIA L4X") is None
    assert gpus.mfu(1e12, 1.0, "cpu") is None
    assert gpus.known("NVIDIA A100-SXM4-40GB") != gpus.known("NVIDIA A100-SXM4-80GB")


class FakeNvml:
    """Two GPUs; the second is busy. The names are those of nvidia-ml-py."""

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index > 1:
            raise self.NVMLError("not found")
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        return {"GPU-1": 1}[name]

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return type("Rates", (), {"gpu": 97 * handle})


def test_telemetry_reads_the_gpu_that_the_process_may_use() -> None:
    for visible in ("1", "1,0", "GPU-1"):
        assert telemetry.gpu_percent(FakeNvml(), {"CUDA_VISIBLE_DEVICES": visible}) == 97.0
    assert telemetry.gpu_percent(FakeNvml(), {}) == 0.0
    for visible in ("", "-1", "5"):
        assert telemetry.gpu_percent(FakeNvml(), {"CUDA_VISIBLE_DEVICES": visible}) is None
