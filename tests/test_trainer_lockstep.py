"""Processes that share a model's layers stay together, whatever happens to one of them."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trainer_jobs import FORKS, tiny_models

from brightrun import basemodels
from brightrun.errors import OutOfMemory
from brightrun.jobs import Hyperparameters
from trainer.seat import Seat

PLACES = ("before", "forward", "backward")


class Scene:
    """A process's share of `tiny` with an adapter, and three pieces of work: two turns of two
    processes, in the second of which the last has nothing to do."""

    def __init__(self, group: Any, precision: str, models: Path) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        from trainer import hardware, loading, lockstep
        from trainer.libraries import quiet

        quiet()
        torch.set_num_threads(1)
        folder = basemodels.prepared_folder("tiny", models)
        values = Hyperparameters(precision=precision)  # type: ignore[arg-type]
        made = loading.decide(
            replace(hardware.place(), processes=2), folder, basemodels.profile(folder), values,
            100, "paged_adamw_32bit", {"parallel": "fsdp"},
        )  # fmt: skip
        base = loading.load_base(folder, values.precision, made)
        self.reasons = base.reasons
        self.group = group
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
        self.model = get_peft_model(base.model, config)
        self.adapter = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in self.adapter:
            parameter.data = torch.randn_like(parameter) * 0.02
        self.backbone, _ = loading.parts(self.model)
        self.gathers = base.gathers
        self.pace = lockstep.pace(base.model, base.gathers, group)
        self.ids = [torch.arange(5 + 3 * n)[None] for n in range(3)]

    def step(self, place: str = "") -> Any:
        """The summed gradient of a step. One process runs out of memory once, at `place`."""
        import torch

        self.model.zero_grad(set_to_none=True)
        with self._fault(place):
            turns = self.pace.mine([ids.numel() for ids in self.ids])
            with self.group.together():
                self.pace.through(turns, self._work, training=True)
        self.group.add_up_gradients(self.model, torch.zeros(()))
        return torch.cat([p.grad.flatten() for p in self.adapter if p.grad is not None])

    def _work(self, number: int) -> None:
        hidden = self.backbone(input_ids=self.ids[number], use_cache=False).last_hidden_state
        (hidden.float() ** 2).sum().backward()

    @contextlib.contextmanager
    def _fault(self, place: str) -> Iterator[None]:
        def fail(*_: Any) -> None:
            handle.remove()
            raise MemoryError(place)

        inside = self.backbone.layers[1].mlp
        register = {
            "before": self.backbone.register_forward_pre_hook,
            "forward": inside.register_forward_hook,
            "backward": inside.register_full_backward_pre_hook,
        }.get(place)
        if register is None or self.group.leads:
            yield
            return
        handle = register(fail)
        yield


def outcomes(scene: Scene) -> dict[str, Any]:
    """What happens to a step with a fault at each place, and to the same step done again."""
    import torch

    expected = scene.step()
    found: dict[str, Any] = {"norm": expected.norm().item()}
    for place in PLACES:
        try:
            scene.step(place)
            raised = ""
        except MemoryError as error:
            raised = str(error)
        found[place] = [raised, torch.equal(scene.step(), expected)]
    return found


@pytest.mark.parametrize(
    ("costs", "size", "expected"),
    [
        ([5, 4, 3, 2], 2, [[0, 2], [1, 3]]),
        ([2, 9, 8], 2, [[1, 0], [2, None]]),
        ([7], 3, [[0], [None], [None]]),
        ([], 2, [[], []]),
        ([3, 9, 1], 1, [[1, 0, 2]]),
    ],
)
def test_turns_hold_like_sizes_and_all_processes_have_as_many(
    costs: list[int], size: int, expected: list[list[int | None]]
) -> None:
    from trainer.distributed import rounds

    assert rounds(costs, size) == expected


def test_a_process_that_has_no_memory_even_without_data_says_so() -> None:
    from trainer import failures
    from trainer.distributed import LostStep

    for cause in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")):
        assert isinstance(failures.explain(LostStep(cause), None, "training"), OutOfMemory)
    lost = failures.explain(LostStep(RuntimeError("NCCL error: remote end")), None, "training")
    assert lost.fault == "nccl"


def _take_seat(rank: int, port: int, precision: str, models: Path, out: Path) -> None:
    """One of two processes: writes what it saw."""
    from trainer.control import StopRequested
    from trainer.distributed import Group, PeerFailed

    group = Group(Seat(rank, 2, rank, f"tcp://127.0.0.1:{port}"))
    scene = Scene(group, precision, models)
    found = outcomes(scene)
    found["held"] = [reason for reason in scene.reasons if "are held here" in reason]
    found["ended"] = []
    for failure in (StopRequested(), RuntimeError("measuring fails")):
        try:
            if rank == 0:
                lead(scene, failure)
            else:
                scene.pace.follow()
        except (StopRequested, PeerFailed, RuntimeError) as error:
            found["ended"].append(type(error).__name__)
    out.write_text(json.dumps(found))


def lead(scene: Scene, failure: Exception) -> None:
    """One forward pass that succeeds, one that ends in the middle of a layer."""

    def fail(*_: Any) -> None:
        hook.remove()
        raise failure

    with scene.pace.leading():
        scene.backbone(input_ids=scene.ids[0], use_cache=False)
        hook = scene.backbone.layers[1].mlp.register_forward_hook(fail)
        scene.backbone(input_ids=scene.ids[0], use_cache=False)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "nf4"])
def test_one_process_out_of_memory_leaves_nobody_waiting(precision: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = tiny_models()
    outs = [tmp_path / f"{rank}.json" for rank in range(2)]
    processes = [
        FORKS.Process(target=_take_seat, args=(rank, port, precision, models, outs[rank]))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (json.loads(out.read_text()) for out in outs)
    assert first["norm"] == second["norm"] > 0
    for place in PLACES:
        # Both give the step up, and both have the same sum when it is done again.
        assert first[place][0]
        assert second[place][0]
        assert first[place][1]
        assert second[place][1]
    assert first["ended"] == ["StopRequested", "RuntimeError"]
    assert second["ended"] == ["StopRequested", "PeerFailed"]
    held, whole = (float(text) for text in first["held"][0].split()[2:5:2])
    # tiny's embeddings, whole in every process, are the larger part of it.
    assert held < 0.9 * whole
