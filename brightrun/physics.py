"""Machines, models, and how long or how large their work is, before there is any history.

Every figure is a range: `low`, `likely`, `high`. Sources stand beside the formulas; what is a
guess says so. Measured runs (`costs.Observed`) replace the two that matter, training and measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from brightrun import gpus
from brightrun.errors import ConfigurationError
from brightrun.prices import CPU, H100_PCIE, H100_SXM
from brightrun.speed import BF16_GAIN, cpu_speedup

Precision = Literal["nf4", "bf16", "fp32"]
BYTES: dict[str, float] = {"nf4": 0.516, "bf16": 2.0, "fp32": 4.0}  # nf4: double quantised
GIGA = 1e9
# Activations that may stay in memory: with model, optimizer and everything else that runs beside
# the pod, a machine with 8 GB holds it.
KEPT_BYTES = 4.2e9
RECOMPUTED = 1.31  # time with activations computed twice; measured on a CPU: 27-35 % more
# Seconds that the calls of one layer's kernels take: forward, again, and backward. Measured on one
# H100's host only (2.7 us a view; others may take a half), with 70B recomputed. Two thirds where
# nothing is computed again: 8B kept took 0.36-0.52 s a micro-step of 256-2,048 tokens there, this
# says 0.47.
CALLED = 0.022
LAYER_PEAK = 73.0  # bytes an element of hidden size while one layer is computed
DEMO_TOKENS = 900  # of the demo's sequences (544-1,104), at which its steps were timed
BUSY = 4.0  # high / likely on a CPU that others use too; measured up to 10 with 8 processes


@dataclass(frozen=True, slots=True)
class Range:
    """low <= likely <= high, one unit."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.likely <= self.high:
            raise ValueError(f"not a range: {self.low} <= {self.likely} <= {self.high}")

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> Range:
        """Every bound times a factor >= 0."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def as_json(self, digits: int = 4) -> dict[str, float]:
        return {k: round(getattr(self, k), digits) for k in ("low", "likely", "high")}


def exactly(value: float) -> Range:
    """A range without width."""
    return Range(value, value, value)


def total(parts: list[Range]) -> Range:
    """Sum of ranges, bound by bound (parts are taken as fully dependent: the widest sum)."""
    return sum(parts, exactly(0.0))


@dataclass(frozen=True, slots=True)
class Machine:
    """What a pod runs on. memory_gb: GPU memory, or the machine's RAM for "cpu" (None: unknown);
    speed: of a CPU, as a share of the reference machine's; free: share of its cores that other
    processes leave now; bf16: a CPU multiplies that in hardware (`brightrun.speed`); gain: times
    faster than in fp32 that it multiplies in a job's number format."""

    name: str
    threads: int = 1
    memory_gb: float | None = None
    tflops: float = 0.0  # dense bf16
    terabytes_per_s: float = 0.0
    speed: float = 1.0
    free: float = 1.0
    bf16: bool = False
    gain: float = 1.0

    def computing(self, precision: Precision) -> Machine:
        """As a pod of a job with this precision uses it."""
        return replace(self, gain=BF16_GAIN if self.bf16 and precision != "fp32" else 1.0)

    @property
    def speedup(self) -> float:
        """Of a CPU in a job against one thread that computes in fp32."""
        return cpu_speedup(self.threads) * self.gain

    @property
    def is_gpu(self) -> bool:
        return self.name != CPU

    @property
    def key(self) -> str:
        """Identity in the history: a CPU with other threads is another machine."""
        return self.name if self.is_gpu else f"{self.name}/{self.threads}"


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Dimensions of a base model. parameters: those that multiply (embeddings once, as head)."""

    name: str
    parameters: float
    hidden: int
    layers: int
    vocab: int
    intermediate: int = 0
    kv_share: float = 1.0  # kv heads / heads

    @classmethod
    def of_prepared(cls, profile: Mapping[str, Any]) -> ModelProfile:
        """From a prepared model's `prepared.json` (`basemodels.profile`)."""
        try:
            shape = profile["architecture"]
            return cls(
                name=str(profile["name"]),
                parameters=float(profile["parameters"]),
                hidden=int(shape["hidden_size"]),
                layers=int(shape["layers"]),
                vocab=int(shape["vocab"]),
                intermediate=int(shape["intermediate_size"]),
                kv_share=int(shape["kv_heads"]) / int(shape["heads"]),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ConfigurationError(
                f"the prepared model's profile is incomplete: {error!r}",
                cause="prepared.json was written by another version",
                fix="remove the prepared folder and run `python -m trainer prepare` again",
            ) from None

    @property
    def mlp(self) -> int:
        return self.intermediate or round(3.5 * self.hidden)

    def lora_parameters(self, r: int) -> float:
        """r (in + out) over q, k, v, o, gate, up, down of every layer (Hu et al. 2021, 4.1)."""
        kv = self.hidden * self.kv_share
        widths = 4 * self.hidden + 2 * (self.hidden + kv) + 3 * (self.hidden + self.mlp)
        return self.layers * r * widths


LLAMA_3_70B = ModelProfile(
    "meta-llama/Meta-Llama-3-70B-Instruct", 69.5e9, 8192, 80, 128_256, 28_672, 1 / 8
)
SMOLLM2 = ModelProfile("SmolLM2-135M-Instruct", 134.5e6, 576, 30, 49_152, 1536, 1 / 3)


def of_gpu(gpu: gpus.Gpu) -> Machine:
    """The machine that holds one such GPU."""
    return Machine(gpu.name, 1, gpu.memory_gb, gpu.tflops, gpu.terabytes_per_s)


_GPUS = {H100_PCIE: of_gpu(gpus.H100_PCIE), H100_SXM: of_gpu(gpus.H100_SXM)}


def machine_of(gpu: str, threads: int = 1, memory_gb: float | None = None) -> Machine:
    """The profile of a GPU's name (as `prices.gpu_name` returns it) or of this CPU."""
    if gpu == CPU:
        return Machine(CPU, threads, memory_gb)
    try:
        return _GPUS[gpu]
    except KeyError:
        raise ConfigurationError(
            f"there is no profile of {gpu!r}", fix=f"use one of: {', '.join([CPU, *_GPUS])}"
        ) from None


def activation_bytes(model: ModelProfile, each: float) -> float:
    """Bytes that one token leaves in one layer of a LoRA-Llama for the backward pass, `each` to an
    element. Counted; at SmolLM2's width the trainer's own layers leave 69-72 kB on a CPU, 2.9 to an
    element, PEFT's 116 kB (measured)."""
    return each * (24.0 * model.hidden + 7.0 * model.mlp)


def recomputes(machine: Machine, model: ModelProfile, longest: int, allowed: bool) -> bool:
    """Whether the longest sequence has its activations computed twice, if that is allowed."""
    return allowed and (machine.is_gpu or longest > kept_on(machine, model))


def kept_on(machine: Machine, model: ModelProfile) -> int:
    """`kept_on_cpu` of a machine on which nothing else is in memory."""
    room = None if machine.memory_gb is None else machine.memory_gb * GIGA
    return kept_on_cpu(model, room)


def kept_on_cpu(model: ModelProfile, free_bytes: float | None = None) -> int:
    """Tokens of the longest sequence whose activations a CPU pod keeps instead of computing them
    twice: half of the free memory (None: enough), at most KEPT_BYTES."""
    room = KEPT_BYTES if free_bytes is None else min(KEPT_BYTES, free_bytes / 2)
    return int(room // (model.layers * activation_bytes(model, 4.0)))


def training_flops(
    model: ModelProfile, tokens: float, sum_squared: float, checkpointing: bool
) -> float:
    """Frozen base with LoRA: 2N forward + 2N activation gradients (+ 2N recompute) a token.

    Attention adds 7 (9 with recompute) x hidden x layers x length: the known 429 / 441 / 465
    GFLOP a token at 2k / 4k / 8k for N = 69.5e9. sum_squared: sum over sequences of tokens**2.
    """
    dense, attention = (6.0, 9.0) if checkpointing else (4.0, 7.0)
    return dense * model.parameters * tokens + attention * model.hidden * model.layers * sum_squared


def recomputing(
    machine: Machine, model: ModelProfile, tokens: float, sum_squared: float, allowed: bool
) -> float:
    """Factor of the training time for activations that are computed twice.

    A CPU pod that may do so does it only for sequences that do not fit: judged by the length that
    the average token stands in.
    """
    if not allowed:
        return 1.0
    if machine.is_gpu or sum_squared > tokens * kept_on(machine, model):
        return RECOMPUTED
    return 1.0


def training_seconds(
    machine: Machine,
    model: ModelProfile,
    tokens: float,
    sum_squared: float,
    micro_steps: float,
    checkpointing: bool,
) -> Range:
    """Seconds of forward and backward over `tokens`, in `micro_steps` micro-batches.

    GPU: 0.3 s at 70B, proportional to the weights dequantised, and the FLOPs at 56.7 % of the dense
    bf16 peak; never less than `CALLED` a layer and micro-step, which calling the kernels takes.
    Both measured with Llama 3 70B's shape in NF4 on an H100 SXM (1.87 / 3.51 / 5.14 s at 2,048 /
    4,096 / 6,000 tokens, within 1 %; 1.6-2.3 s below 2,048 on a slow host).
    CPU: SmolLM2 90 tokens per CPU second at the demo's lengths (its quietest steps, optimizer
    included: 150-159 tokens/s on 2 threads; a bare loop reached 114), 27-35 % slower with
    activations computed twice (measured), proportional to FLOPs, never under 0.8 ms a token
    (measured with `tiny` on 2 threads, in a job). High is 4 x likely: a second job on the same
    cores costs that much and more.
    """
    if machine.is_gpu:
        flops = training_flops(model, tokens, sum_squared, checkpointing) / (machine.tflops * 1e12)
        scale = micro_steps * model.parameters / LLAMA_3_70B.parameters
        called = micro_steps * model.layers * CALLED * (1.0 if checkpointing else 2 / 3)
        return Range(
            max(0.4 * called, 0.2 * scale + flops / 0.60),
            max(called, 0.3 * scale + flops / 0.567),
            max(1.4 * called, 0.7 * scale + flops / 0.45),
        )
    reference = 4.0 * SMOLLM2.parameters + 7.0 * SMOLLM2.hidden * SMOLLM2.layers * DEMO_TOKENS
    flops = training_flops(model, tokens, sum_squared, False)
    seconds = flops / reference / 90.0 / machine.speedup
    twice = recomputing(machine, model, tokens, sum_squared, checkpointing)
    likely = max(seconds * twice, 0.8e-3 * tokens) / machine.speed
    return Range(likely / 1.3, likely, likely * BUSY)


def forward_seconds(machine: Machine, model: ModelProfile, tokens: float) -> Range:
    """Seconds of a forward pass over `tokens`.

    GPU: 2N FLOPs at 25-50 % of peak. CPU: SmolLM2 250 tokens/s, never under 0.27 ms (`tiny`).
    """
    if machine.is_gpu:
        seconds = 2.0 * model.parameters * tokens / (machine.tflops * 1e12)
        return Range(seconds / 0.5, seconds / 0.4, seconds / 0.25)
    scaled = tokens * model.parameters / SMOLLM2.parameters / 250 / machine.speedup
    likely = max(scaled, 0.27e-3 * tokens) / machine.speed
    return Range(likely / 1.3, likely, likely * BUSY)


def generation_seconds(
    machine: Machine, model: ModelProfile, tokens: float, precision: Precision, batch: int
) -> Range:
    """Seconds to write `tokens` new tokens, `batch` answers at once.

    GPU: one step of a batch reads all weights once, at 50 / 20 / 10 % of the memory bandwidth (a
    guess), and takes at least 1 / 3 / 5 ms a layer for the calls (70B in NF4 on an H100: 0.24 s
    a step at batch 3, first calls included; larger batches not measured). CPU: SmolLM2 with its
    adapter 10 tokens per CPU second as a single stream (measured), 31 in batches (a guess), with
    threads gaining as in training; one step never takes less than 25 ms (measured with `tiny`:
    4.5 ms a token in batches of 6).
    """
    if machine.is_gpu:
        size = model.parameters * BYTES[precision] / (machine.terabytes_per_s * 1e12)
        steps, layer = tokens / batch, model.layers * 1e-3
        return Range(
            steps * max(size / 0.5, layer),
            steps * max(size / 0.2, 3 * layer),
            steps * max(size / 0.1, 5 * layer),
        )
    rate = 31.5 if batch > 1 else 10.0
    scaled = tokens * model.parameters / SMOLLM2.parameters / rate / machine.speedup
    likely = max(scaled, 25e-3 * tokens / batch) / machine.speed
    return Range(likely / 2, likely, likely * BUSY)
