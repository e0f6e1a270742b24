"""One attempt: preprocessing, model_loading, training, measuring, finalization."""

from __future__ import annotations

import gc
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from brightrun import basemodels, proof
from brightrun.errors import BrightRunError, TrainerError
from brightrun.jobs import JobSpec
from brightrun.runfolder import MANIFEST, checkpoint
from brightrun.tokens import ChatTokenizer
from trainer import (
    checkpoints,
    data,
    fetching,
    finalize,
    hardware,
    loading,
    lockstep,
    memory,
    packing,
    resuming,
)
from trainer.calibrate import Calibration
from trainer.control import Control
from trainer.distributed import NOTHING, Group
from trainer.labelled import activation_limit
from trainer.libraries import deterministic, quiet
from trainer.lockstep import Pace
from trainer.measure import Bench, measure
from trainer.memory import Fit
from trainer.narrator import Narrator, evaluation_steps
from trainer.patience import PatientFolder
from trainer.pod import Pod
from trainer.prepared import Prepared
from trainer.reporter import Reporter
from trainer.resuming import Found
from trainer.saver import Saver
from trainer.stall import StallWatch
from trainer.tokencache import TokenCache
from trainer.train import train
from trainer.work import Work


def _fail_here(error: BrightRunError) -> None:
    print(error, flush=True)
    os._exit(1)


@dataclass(slots=True)
class Attempt:
    """The run folder and the threads that all stages share. Processes that do not lead the group
    take part in the training, and in nothing else."""

    pod: Pod
    folder: PatientFolder
    reporter: Reporter
    control: Control
    scratch: Path
    group: Group = field(default_factory=Group)
    # Ends the process with a diagnosis; the entry point writes it into the marker.
    fail: Callable[[BrightRunError], None] = _fail_here

    def run(self, spec: JobSpec) -> dict[str, Any]:
        """All stages; the content of `_DONE`."""
        quiet()
        deterministic(self.pod.threads)
        with self.reporter.stage("preprocessing") as detail:
            prepared = self.preprocess(spec, detail)
        with self.reporter.stage("model_loading") as detail:
            base = self.load(prepared)
            detail.update(reasons=list(base.reasons), memory_mb=hardware.memory_mb())
            for reason in base.reasons:
                print(reason, flush=True)
        self.control.check()
        pace = lockstep.pace(base.model, base.gathers, self.group)
        facts = checkpoints.facts(self.pod.threads, f"{self.group.size}{pace.kind}")
        model = self.train(prepared, base, pace, {**facts, resuming.COMPUTES: base.computes()})
        if not self.group.leads:
            pace.follow()
            return {}
        with self.reporter.stage("measuring") as detail, pace.leading():
            bench = Bench(
                model, base.dtype, prepared.tokenizer, spec.values, self.folder,
                self.pod.attempt, self.reporter, self.control.check, machine=facts,
            )  # fmt: skip
            detail.update(measure(bench, prepared.held_out, prepared.training))
        dtype = str(base.dtype).removeprefix("torch.")
        del model, base, bench, pace
        gc.collect()
        # Not kept for later use either: inference.py loads the base model in a process of its own.
        torch.cuda.empty_cache()
        with self.reporter.stage("finalization") as detail:
            detail["golden"] = self.finalize(prepared, dtype)
        manifest = self.folder.manifest(finalize.ADAPTER) or {}
        return {
            "adapter_sha256": manifest["files"][finalize.WEIGHTS]["sha256"],
            "steps": len(prepared.plan),
            "seconds": self.reporter.seconds,
            "peak_memory_mb": hardware.peak_memory_mb(),
        }

    def preprocess(self, spec: JobSpec, detail: dict[str, Any]) -> Prepared:
        """Check hashes, tokenise, plan the steps."""
        began = time.monotonic()
        folder = fetching.prepared(spec.base_model, self.pod.models, self.wait)
        if (fetched := time.monotonic() - began) >= 1.0:
            detail["fetch_s"] = round(fetched, 1)
        basemodels.verify_weights(folder)
        tokenizer = ChatTokenizer.load(folder)
        if unproven := proof.unproven(tokenizer):
            self.reporter.warn("template_unproven", unproven)
        values = spec.values
        loaded = data.load(self.folder, spec, tokenizer, TokenCache(self.pod.models))
        training = loaded.training
        names = [sample.sample_id for sample in training]
        plan = data.steps(values.seed, values.epochs, spec.conversations_per_step, names)
        if len(plan) != spec.total_steps:
            raise TrainerError(
                f"the data gives {len(plan)} steps, the spec says {spec.total_steps}",
                cause="the snapshot's counts in the spec do not fit its files",
                fault="token_count",
            )
        detail.update(loaded.facts, steps=len(plan))
        profile = basemodels.profile(folder)
        return Prepared(spec, folder, profile, tokenizer, training, loaded.held_out, plan)

    def load(self, prepared: Prepared) -> loading.Base:
        """The base model, loaded as this machine does best."""
        spec, folder = prepared.spec, prepared.base_folder
        longest = max(len(sample.ids) for sample in (*prepared.training, *prepared.held_out))
        # Read before the processes meet: later the leader may remove a damaged checkpoint.
        before = resuming.computed(self.folder, self.group.size)
        place = hardware.shared(hardware.place(), self.group)
        made = loading.decide(
            place, folder, prepared.profile, spec.values, longest, spec.optimizer,
            self.pod.choices, before,
        )  # fmt: skip
        packing.check(spec.values.packing, made.packed.value)
        dense = before.get(loading.DENSE, "")
        return loading.load_base(folder, spec.values.precision, made, dense)

    def train(
        self, prepared: Prepared, base: loading.Base, pace: Pace, facts: dict[str, Any]
    ) -> Any:
        """The model with its trained adapter, trained here or by an earlier attempt."""
        total = len(prepared.plan)
        if not self.group.leads:
            return self.follow(prepared, base, pace, facts)
        if self.folder.exists(f"{finalize.ADAPTER}/{MANIFEST}"):
            self.group.tell(NOTHING)
            self.reporter.skip("training", "the adapter of an earlier attempt is complete")
            return self.load_adapter(base)
        found = resuming.newest(self.folder, self.scratch, self.reporter, facts)
        step, resume = found.step, found.local
        adapter_facts = {"step": total, **facts}
        if resume is not None and step >= total and not self.unvalidated(prepared):
            self.group.tell(NOTHING)
            self.reporter.skip("training", f"the checkpoint of the last step {step} is complete")
            finalize.upload_adapter(resume, prepared.profile["public_name"], self.folder,
                                    adapter_facts)  # fmt: skip
            return self.load_adapter(base)
        with self.reporter.stage("training") as detail:
            detail.update(resumed_from=step, total_steps=total)
            if step:
                print(f"resuming from step {step}", flush=True)
            self.group.tell(step)
            model = self.train_from(prepared, base, pace, facts, found, detail)
            public = prepared.profile["public_name"]
            finalize.publish_adapter(model, public, self.folder, self.scratch, adapter_facts)
        gc.collect()
        return model

    def follow(
        self, prepared: Prepared, base: loading.Base, pace: Pace, facts: dict[str, Any]
    ) -> Any:
        """Train from the step that the leader says, or nothing when it has nothing to train."""
        step = self.group.tell(NOTHING)
        if step == NOTHING:
            return None
        found = Found()
        if step:
            local = self.scratch / f"checkpoint-{step}"
            found = Found(step, local, self.folder.download_folder(checkpoint(step), local))
        return self.train_from(prepared, base, pace, facts, found, {})

    def train_from(
        self, prepared: Prepared, base: loading.Base, pace: Pace, facts: dict[str, Any],
        found: Found, detail: dict[str, Any],
    ) -> Any:  # fmt: skip
        """The trained model; `detail` gets what the training stage tells at its end."""
        step, resume = found.step, found.local
        room = resuming.probe_room(found.manifest, facts)
        course = prepared.course(step, found.manifest, room)
        made = base.choices
        asked = not {"micro_batch", "grouped"}.isdisjoint(self.pod.choices)
        cut, inexact = prepared.cut(made, asked, found.manifest, facts["hardware"])
        if inexact:
            why = "launched with another micro-batch, grouping or machine"
            self.reporter.warn("inexact_resume", inexact, why)
        spec, total = prepared.spec, len(prepared.plan)
        values = spec.values
        saver = Saver(self.folder, self.reporter, self.control, facts, step)
        schedule = checkpoints.Schedule(
            values.checkpoint_steps, values.checkpoint_minutes, total, step
        )
        narrator = Narrator(
            self.reporter,
            schedule,
            prepared.held_out,
            evaluation_steps(values.eval_points, total),
            spec.steps_per_epoch,
            self.pod.interrupt_at,
            course,
            StallWatch(self.fail),
            self.validated(),
        )
        kept = int(self.group.least(activation_limit(base)))
        fit = Fit(cut, kept if memory.may_recompute(made, values) else None)
        calibration = Calibration(
            partial(prepared.remaining, pace.mine), step, fit,
            lambda found: self.reporter.add("progress", found),
            base.model.device.type,
        )  # fmt: skip
        work = Work(
            spec,
            prepared.training,
            prepared.plan,
            self.scratch,
            resume,
            saver.check,
            kept,
            cut,
            calibration.on_step,
            group=self.group,
            pace=pace,
        )
        with saver.draining():
            model = train(work, base, narrator, saver)
        detail.update(course.detail())
        for parameter in model.parameters():
            parameter.grad = None
        return model

    def unvalidated(self, prepared: Prepared) -> bool:
        """Whether a stop came between the last step and its validation: its loss was never told."""
        total = len(prepared.plan)
        due = evaluation_steps(prepared.spec.values.eval_points, total)
        return total in due and total not in self.validated()

    def validated(self) -> frozenset[int]:
        """Steps whose validation loss an earlier attempt has told."""
        earlier = [n for n in self.folder.attempts() if n < self.pod.attempt]
        metrics = (e.payload for n in earlier for e in self.folder.events(n) if e.type == "metric")
        return frozenset(int(m["step"]) for m in metrics if "validation_loss" in m)

    def load_adapter(self, base: loading.Base) -> Any:
        """The base model with the finished adapter; StorageError when that is damaged."""
        return PeftModel.from_pretrained(base.model, str(self.local_adapter()))

    def local_adapter(self) -> Path:
        local = self.scratch / "finished"
        self.folder.download_folder(finalize.ADAPTER, local)
        return local

    def finalize(self, prepared: Prepared, dtype: str) -> int:
        """Golden answers, unless an earlier attempt has made them."""
        if self.folder.exists("measurements/golden.jsonl"):
            return len(self.folder.read_jsonl("measurements/golden.jsonl"))
        return finalize.golden_answers(
            self.folder, prepared.base_folder, self.local_adapter(), prepared.spec.values, dtype,
            self.pod.threads, self.scratch, self.group.seat.whole_pod(os.environ), self.wait,
        )  # fmt: skip

    def wait(self, process: subprocess.Popen[str]) -> tuple[str, int]:
        """Output and status of a child; a stop ends the child first."""
        try:
            while True:
                self.control.check()
                try:
                    output, _ = process.communicate(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
                return output, process.returncode
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
