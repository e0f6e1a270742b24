"""A job's rating sheets in its run folder: the key that was drawn, and the sheets that came back.

    evals/ratings/key.json        set, seed, items of every rater: whose answers A and B are
    evals/ratings/{sha}.csv       a sheet as it came, named by its hash
    evals/ratings/taken.json      rater -> {file name, sha256}: which sheets count now

Nothing is kept in a second form: verdicts are made from these files each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brightrun.errors import EvaluationError
from brightrun.modelnames import MODELS
from brightrun.runfolder import RunFolder
from evals import rating, rating_filled
from evals.rating import Item, Rubric
from evals.rating_file import Problem
from evals.rating_filled import Filled

KEY = "evals/ratings/key.json"
TAKEN = "evals/ratings/taken.json"
ANSWERS = "measurements/answers.jsonl"
SPEC = "spec.json"
RATED_PASS = 1
Texts = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The sheets of a job: the set's id, the seed, and every rater's items."""

    sheets: str
    seed: int
    items: tuple[Item, ...]

    @property
    def raters(self) -> int:
        return max((rating.rater_of(item.item) for item in self.items), default=0)

    def of(self, rater: int) -> tuple[Item, ...]:
        return tuple(item for item in self.items if rating.rater_of(item.item) == rater)

    @property
    def by_id(self) -> dict[str, Item]:
        return {item.item: item for item in self.items}

    def file(self) -> bytes:
        key = {"set": self.sheets, "seed": self.seed, "items": rating.key_of(self.items)}
        return rating.key_bytes(key)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file()).hexdigest()


@dataclass(frozen=True, slots=True)
class Taken:
    """One sheet that counts: where it came from and what it says."""

    name: str
    sha256: str
    filled: Filled


def answers_of(folder: RunFolder) -> dict[tuple[str, str], str]:
    """(model, scenario id) -> the answer that people rate: the first pass of both models."""
    rows = folder.read_jsonl(ANSWERS)
    texts = {
        (row["model"], row["scenario_id"]): str(row["text"])
        for row in rows
        if row["pass"] == RATED_PASS and row["model"] in MODELS
    }
    both = {name for _, name in texts if all((m, name) in texts for m in MODELS)}
    return {key: text for key, text in texts.items() if key[1] in both}


def shown(folder: RunFolder) -> dict[tuple[str, str], str]:
    """`answers_of` as a rater reads them: without the names of models."""
    base = base_of(folder)
    return {key: rating.masked(text, base) for key, text in answers_of(folder).items()}


def base_of(folder: RunFolder) -> str:
    """The base model's name; "" before the job was planned."""
    found = folder.read_json(SPEC)["spec"] if folder.exists(SPEC) else {}
    return str(found.get("base_model", {}).get("name", ""))


def draw(folder: RunFolder, seed: int, raters: int) -> Drawn:
    """Draw the sheets, or more of them: what an earlier rater was given never changes."""
    texts = answers_of(folder)
    if not texts:
        raise EvaluationError(
            f"{folder.url} has no answers to rate", fix="let the job finish its measuring first"
        )
    sheets = rating.set_id(texts, seed)
    known = load(folder)
    if known is not None and known.sheets != sheets and folder.exists(TAKEN):
        raise EvaluationError(
            "the answers are not those that people have rated",
            cause=f"measurements/answers.jsonl or the seed changed since set {known.sheets}",
            fix="restore the answers, or start a new job for the new ones",
        )
    if known is not None and known.sheets == sheets:
        raters = max(raters, known.raters)
    names = sorted({name for _, name in texts})
    items = [item for n in range(1, raters + 1) for item in rating.sheet(n, names, sheets, seed)]
    drawn = Drawn(sheets, seed, tuple(items))
    folder.write_bytes(KEY, drawn.file())
    return drawn


def load(folder: RunFolder) -> Drawn | None:
    """The drawn sheets; None before the first export."""
    if not folder.exists(KEY):
        return None
    key = folder.read_json(KEY)
    return Drawn(key["set"], int(key["seed"]), rating.from_key(key["items"]))


def taken(folder: RunFolder, rubric: Rubric) -> dict[int, Taken]:
    """The sheets that count, by rater; EvaluationError when one was changed since it was taken."""
    drawn = load(folder)
    if drawn is None or not folder.exists(TAKEN):
        return {}
    texts, key = shown(folder), drawn.by_id
    found = {}
    for rater, entry in folder.read_json(TAKEN).items():
        content = folder.read_bytes(_path(entry["sha256"]))
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise EvaluationError(
                f"the sheet of rater {rater} in the run folder was changed after its import",
                fix="import the rater's own file again with --replace",
            )
        filled = rating_filled.read(entry["name"], content, key, rubric, texts)
        found[int(rater)] = Taken(entry["name"], entry["sha256"], filled)
    return dict(sorted(found.items()))


def hashes(folder: RunFolder) -> dict[str, str]:
    """rater -> sha256 of the sheet that counts."""
    rows = folder.read_json(TAKEN) if folder.exists(TAKEN) else {}
    return {rater: entry["sha256"] for rater, entry in rows.items()}


@dataclass(frozen=True, slots=True)
class Import:
    """What an import did. problems: nothing was taken; new: raters whose sheet is now another."""

    problems: tuple[Problem, ...]
    new: tuple[int, ...]
    sheets: tuple[Filled, ...]


def take(
    folder: RunFolder,
    files: Sequence[tuple[str, bytes]],
    rubric: Rubric,
    *,
    replace: bool = False,
) -> Import:
    """Check all files, then take all of them or none. The same file twice changes nothing."""
    drawn = load(folder)
    if drawn is None:
        raise EvaluationError(
            "no sheets were exported for this job", fix="run `brightrun rate export` first"
        )
    texts, key = shown(folder), drawn.by_id
    read = [(name, c, rating_filled.read(name, c, key, rubric, texts)) for name, c in files]
    before = folder.read_json(TAKEN) if folder.exists(TAKEN) else {}
    problems = [p for _, _, filled in read for p in filled.problems]
    problems += _clashes(read, before, replace)
    sheets = tuple(filled for _, _, filled in read)
    if problems:
        return Import(tuple(problems), (), sheets)
    now, new = dict(before), []
    for name, content, filled in read:
        digest = hashlib.sha256(content).hexdigest()
        if before.get(str(filled.rater), {}).get("sha256") == digest:
            continue
        folder.write_bytes(_path(digest), content)
        now[str(filled.rater)] = {"name": name, "sha256": digest}
        new.append(filled.rater)
    if new:
        folder.write_json(TAKEN, dict(sorted(now.items(), key=lambda kv: int(kv[0]))))
    return Import((), tuple(new), sheets)


def _clashes(
    read: Iterable[tuple[str, bytes, Filled]], before: Mapping[str, Any], replace: bool
) -> list[Problem]:
    found, seen = [], dict[int, str]()
    for name, content, filled in read:
        if not filled.rater:
            continue
        if filled.rater in seen:
            message = f"rater {filled.rater} also has {seen[filled.rater]}"
            found.append(Problem(name, None, "", message, "import one file per rater"))
        seen[filled.rater] = name
        known = before.get(str(filled.rater))
        if known is None or replace:
            continue
        if known["sha256"] != hashlib.sha256(content).hexdigest():
            message = f"rater {filled.rater} has another sheet already ({known['name']})"
            found.append(Problem(name, None, "", message, "add --replace if this one is to count"))
    return found


def _path(sha256: str) -> str:
    return f"evals/ratings/{sha256}.csv"
