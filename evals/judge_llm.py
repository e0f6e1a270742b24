"""A language model as a judge: every answer scored several times, every pair compared both ways.

Replies are kept on disk by the content of their request, so that a repeated command pays for
nothing twice. Refusals, cut-off and unreadable replies are counted and give no score. A pair whose
two orders disagree is a tie: a judge that always takes the first has only ties.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from brightrun.modelnames import MODELS
from brightrun.verdicts import EvidenceKind
from evals import judge_prompts
from evals.judge_names import JudgeName
from evals.judge_prompts import Position, Prompt, Unreadable
from evals.judge_wire import Chat, Reply
from evals.rating import Rubric
from evals.scores import Choice, Opinions, Preferred, Score

FEWEST_REPEATS = 3
T = TypeVar("T")
# (model, scenario, pass) -> answer
Texts = Mapping[tuple[str, str, int], str]


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to judge: the messages and answers of a scenario and pass; voice: asked too."""

    scenario_id: str
    number: int
    message: str
    answers: Mapping[str, str]
    voice: bool


@dataclass(slots=True)
class Tally:
    """What became of the requests. first: pairs in which the first place was preferred."""

    asked: int = 0
    read: int = 0
    refused: int = 0
    cut_off: int = 0
    unreadable: int = 0
    from_cache: int = 0
    pairs: int = 0
    ties_by_order: int = 0
    first: int = 0
    compared: int = 0
    why: dict[str, int] = field(default_factory=dict)


class Cache:
    """Replies on disk, found by the request's content and the number of the repeat."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, url: str, body: Mapping[str, Any], repeat: int) -> Path:
        content = json.dumps([url, body, repeat], sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(content.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.json"

    def get(self, path: Path) -> Reply | None:
        return Reply(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def put(self, path: Path, reply: Reply) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two writers of one reply, threads or processes, each with a file of its own.
        part = path.with_suffix(f".{uuid4().hex}.part")
        part.write_text(json.dumps(asdict(reply), ensure_ascii=False), encoding="utf-8")
        part.replace(path)


class LlmJudge:
    """A Judge. run() asks; opinions() is what was said so far.

    Its kind is uncalibrated: evals.judgements calls it calibrated when people have confirmed it.
    """

    def __init__(
        self,
        name: JudgeName,
        chat: Chat,
        rubric: Rubric,
        cache: Cache,
        *,
        repeats: int = FEWEST_REPEATS,
        at_once: int = 4,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.judge, self.chat, self.rubric, self.cache = name, chat, rubric, cache
        self.repeats, self.at_once, self.progress = max(repeats, FEWEST_REPEATS), at_once, progress
        self.tally = Tally()
        self.scores: list[Score] = []
        self.choices: list[Choice] = []
        self.orders: dict[tuple[str, int], list[Preferred]] = {}

    @property
    def name(self) -> str:
        return self.judge.name

    @property
    def kind(self) -> EvidenceKind:
        return EvidenceKind.llm_judge_uncalibrated

    def opinions(self) -> Opinions:
        return Opinions(self.kind, tuple(self.scores), tuple(self.choices))

    def run(self, tasks: Sequence[Task]) -> None:
        """Judge all tasks; EvaluationError or BudgetError stops, what was replied is kept."""
        jobs = [job for task in tasks for job in self._jobs(task)]
        replies = self._ask_all([(prompt, repeat) for prompt, repeat, _ in jobs])
        for (_, _, take), reply in zip(jobs, replies, strict=True):
            take(reply)
        for task in tasks:
            self._settle_pair(task)

    def _jobs(self, task: Task) -> list[tuple[Prompt, int, Callable[[Reply], None]]]:
        jobs: list[tuple[Prompt, int, Callable[[Reply], None]]] = []
        voice = [{**c, "key": f"voice_{c['key']}"} for c in self.rubric.voice]
        for dimensions in (self.rubric.dimensions, *([voice] if task.voice else [])):
            for model in MODELS:
                prompt = judge_prompts.to_score(task.message, task.answers[model], dimensions)
                keys = [d["key"] for d in dimensions]
                for repeat in range(1, self.repeats + 1):
                    take = self._scores_of(task, model, repeat, keys)
                    jobs.append((prompt, repeat, take))
        for first, second in (MODELS, MODELS[::-1]):
            prompt = judge_prompts.to_compare(
                task.message, task.answers[first], task.answers[second]
            )
            jobs.append((prompt, 1, self._order_of(task, first, second)))
        return jobs

    def _ask_all(self, prompts: Sequence[tuple[Prompt, int]]) -> list[Reply]:
        paths = [
            self.cache.path(self.judge.base_url, self.chat.body(prompt), repeat)
            for prompt, repeat in prompts
        ]
        # The same request (both models gave one answer, or two passes did) is sent once.
        once = {path: prompt for path, (prompt, _) in zip(paths, prompts, strict=True)}
        replies: list[Reply] = []
        seen: set[Path] = set()
        with ThreadPoolExecutor(self.at_once) as pool:
            futures = {path: pool.submit(self._ask, path, once[path]) for path in once}
            try:
                for done, path in enumerate(paths, start=1):
                    reply, cached = futures[path].result()
                    self.tally.from_cache += cached or path in seen
                    seen.add(path)
                    replies.append(reply)
                    self.progress(done, len(prompts))
            finally:
                # One that fails ends the run: those that wait are not sent and not paid for.
                for future in futures.values():
                    future.cancel()
        return replies

    def _ask(self, path: Path, prompt: Prompt) -> tuple[Reply, bool]:
        """The reply, and whether it was known."""
        known = self.cache.get(path)
        if known is not None:
            return known, True
        reply = self.chat.ask(prompt)
        self.cache.put(path, reply)
        return reply, False

    def _read(self, reply: Reply, read: Callable[[str], T]) -> T | None:
        """What the reply says; None, and counted, when it says nothing that can be used."""
        self.tally.asked += 1
        if reply.stop == "refusal":
            self.tally.refused += 1
            return None
        if reply.stop == "length":
            self.tally.cut_off += 1
            return None
        try:
            found = read(reply.text)
        except Unreadable as error:
            self.tally.unreadable += 1
            why = str(error)[:80]
            self.tally.why[why] = self.tally.why.get(why, 0) + 1
            return None
        self.tally.read += 1
        return found

    def _scores_of(
        self, task: Task, model: str, repeat: int, keys: Sequence[str]
    ) -> Callable[[Reply], None]:
        def take(reply: Reply) -> None:
            found = self._read(reply, lambda text: judge_prompts.read_scores(text, keys))
            where = (self.name, model, task.scenario_id, task.number)
            for key, value in (found or {}).items():
                self.scores.append(Score(*where, key, value, repeat))

        return take

    def _order_of(self, task: Task, first: str, second: str) -> Callable[[Reply], None]:
        def take(reply: Reply) -> None:
            position = self._read(reply, judge_prompts.read_preference)
            if position is None:
                return
            self.tally.compared += 1
            self.tally.first += position == "first"
            self.orders.setdefault((task.scenario_id, task.number), []).append(
                _whose(position, first, second)
            )

        return take

    def _settle_pair(self, task: Task) -> None:
        """Both orders must name the same answer; one that was not read leaves no choice."""
        both = self.orders.pop((task.scenario_id, task.number), [])
        if len(both) < 2:
            return
        agreed = both[0] == both[1]
        self.tally.pairs += 1
        self.tally.ties_by_order += not agreed
        preferred: Preferred = both[0] if agreed else "tie"
        self.choices.append(Choice(self.name, task.scenario_id, task.number, preferred))


def _whose(position: Position, first: str, second: str) -> Preferred:
    if position == "tie":
        return "tie"
    return "trained" if (first if position == "first" else second) == "trained" else "baseline"
