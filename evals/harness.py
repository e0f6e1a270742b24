"""Tasks of lm-eval, the harness that everybody knows, measured beside our own: its files and names.

    read("mmlu_anatomy, ours.yaml") -> (HarnessItem, ...)

The harness builds the requests when the job is planned, so the pod needs neither it nor a network:
it measures the log-likelihood of each choice after its context, plain, without the chat template,
as the harness does by itself. Scored as there: accuracy takes the choice with most log-likelihood,
the normalised one the most per character. Needs `pip install '.[lm-eval]'` where jobs are planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import Field

from brightrun.conversations import CHARACTERS_PER_TOKEN
from brightrun.errors import EvaluationError
from evals.sources import Frozen

MOST_ITEMS = 20_000
FEWSHOT_SEED = 1234  # the harness's own
# Below any log-likelihood: what the other choices get while a task is asked which one is right.
WORSE = -1e9
Right = tuple[int, ...]


class HarnessItem(Frozen):
    """One document of a task. right: indices of its right choices; lengths: their characters;
    by_length: the task counts the normalised accuracy too."""

    item_id: str = Field(min_length=1)
    task: str = Field(min_length=1)
    requests: tuple[tuple[str, str], ...] = Field(min_length=2)
    right: Right
    lengths: tuple[int, ...]
    by_length: bool = False


def read(wish: str) -> tuple[HarnessItem, ...]:
    """Items of tasks, named or in files of the harness's YAML, separated by commas.

    EvaluationError: the harness is not installed, knows no such task, cannot load its data, or the
    task is none of choices.
    """
    names = list(dict.fromkeys(name.strip() for name in wish.split(",") if name.strip()))
    items = [item for name, task in _tasks(names).items() for item in items_of(name, task)]
    if len(items) > MOST_ITEMS:
        raise EvaluationError(
            f"{wish} has {len(items):,} items, more than {MOST_ITEMS:,}",
            fix="name single tasks in place of a group",
        )
    return tuple(items)


def tokens(rows: Sequence[Mapping[str, Any]]) -> int:
    """About how many a pod reads for these rows of the plan, with one model."""
    letters = sum(len(before) + len(after) for row in rows for before, after in row["requests"])
    return round(letters / CHARACTERS_PER_TOKEN)


def _tasks(names: Sequence[str]) -> dict[str, Any]:
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise EvaluationError(
            f"lm-eval tasks were asked for ({', '.join(names)}) and lm-eval is not here: {error}",
            fix="pip install '.[lm-eval]' -c constraints.txt",
        ) from None
    files = {name: file for name in names if (file := Path(name).expanduser()).is_file()}
    try:
        # Reading the names of all its tasks takes seconds.
        manager = TaskManager(include_defaults=len(files) < len(names))
        return dict(manager.load([str(files.get(name, name)) for name in names])["tasks"])
    except (KeyError, ValueError, TypeError, OSError, ImportError) as error:
        raise EvaluationError(
            f"lm-eval cannot load {', '.join(names)}: {error}",
            cause="no such task or file, its YAML is wrong, or its data is not on this machine and "
            "the network is away",
            fix="try it alone: `lm-eval validate --tasks NAME`; a file's data_files are best "
            "written as absolute paths",
        ) from None


def items_of(name: str, task: Any) -> list[HarnessItem]:
    """The task's documents with the requests that the harness itself would send."""
    if task.OUTPUT_TYPE != "multiple_choice":
        raise EvaluationError(
            f"the lm-eval task {name} is of type {task.OUTPUT_TYPE}, not multiple_choice",
            cause="only log-likelihoods of choices are measured; answers that are written are "
            "tested with scenarios",
            fix="name a task of choices",
        )
    task.set_fewshot_seed(FEWSHOT_SEED)
    task.build_all_requests()
    found = []
    by_doc = sorted(task.instances, key=lambda instance: (instance.doc_id, instance.idx))
    for number, group in groupby(by_doc, key=lambda instance: instance.doc_id):
        asked = list(group)
        doc = asked[0].doc
        choices = [str(choice) for choice in task.doc_to_choice(doc)]
        scored = [task.process_results(doc, _only(i, len(choices))) for i in range(len(choices))]
        if len(asked) != len(choices) or any("acc" not in one for one in scored):
            raise EvaluationError(
                f"the lm-eval task {name} is not scored by the likeliest choice alone",
                fix="name a task with the metric acc (and acc_norm)",
            )
        found.append(
            HarnessItem(
                item_id=f"{name}/{number}",
                task=name,
                requests=tuple((str(one.args[0]), str(one.args[1])) for one in asked),
                right=tuple(i for i, one in enumerate(scored) if one["acc"] == 1),
                lengths=tuple(len(choice) for choice in choices),
                by_length="acc_norm" in scored[0],
            )
        )
    return found


def _only(chosen: int, choices: int) -> list[tuple[float, bool]]:
    """Results under which one choice is the likeliest by far."""
    return [(0.0 if i == chosen else WORSE, False) for i in range(choices)]


def scores(
    items: Sequence[HarnessItem], logprobs: Mapping[tuple[str, str], Sequence[float]], model: str
) -> dict[str, list[float]]:
    """Measure -> 1 or 0 of each item, in order. logprobs: (model, item_id) -> of its choices."""
    import numpy as np  # scoring alone needs it; whoever plans keeps its memory

    found: dict[str, list[float]] = {}
    for item in items:
        sums = np.array(logprobs[model, item.item_id])
        name = f"accuracy, lm-eval {item.task}"
        found.setdefault(name, []).append(float(np.argmax(sums) in item.right))
        if item.by_length:
            each = sums / np.maximum(item.lengths, 1)
            found.setdefault(f"{name}, per character", []).append(
                float(np.argmax(each) in item.right)
            )
    return found
