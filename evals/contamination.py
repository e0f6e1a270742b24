"""Does the training data hold what we test with? Shared word sequences, and similarity by TF-IDF.

A scenario or question that shares 13 words in a row with a training turn was possibly learned by
heart: nothing that is measured with it says what the model can do, so the job stops before money is
spent. Fewer are reported: the share of an item's 8-word sequences that stand in the training data,
and its highest TF-IDF cosine with any training turn (log tf, smoothed idf, unigrams). System
prompts are not compared: they stand in training and test by design.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from brightrun.conversations import Defect
from brightrun.counting import count
from brightrun.errors import DatasetError
from brightrun.reading import conversations
from brightrun.runfolder import RunFolder
from brightrun.verdicts import Table
from evals.sources import Question, Scenario

LONG, SHORT = 13, 8
# Beyond so many turns similarity is looked for in a drawn part; word sequences always in all.
MOST_TURNS = 20_000
SHOWN = 10
MEND = (
    "take the conversation out of the training file, or ask other scenarios and questions "
    "(--scenarios, --questions)"
)
PLACE = "contamination.json"  # in the run folder
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# Items whose similarity to all those turns is held at the same time: 50 MB.
AT_ONCE = 128
Turns = Iterable[tuple[str, str]]
Counted = tuple[NDArray[np.int32], NDArray[np.int32]]
"""(numbers of a text's words in a vocabulary, how often it has each)."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something we ask. segments: texts that are compared for word sequences each by itself."""

    kind: str
    item_id: str
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closeness:
    """One item against the training data. shared: 13 or more words in a row, "" for none."""

    kind: str
    item_id: str
    containment_8: float
    containment_13: float
    similarity: float
    conversation_id: str
    shared: str


@dataclass(frozen=True, slots=True)
class Contamination:
    """All items, the closest first. turns: compared for word sequences; read: for similarity."""

    items: tuple[Closeness, ...]
    turns: int
    read: int

    @property
    def blocking(self) -> tuple[Closeness, ...]:
        return tuple(item for item in self.items if item.shared)

    def as_json(self) -> dict[str, Any]:
        return {
            "items": len(self.items),
            "blocking": [asdict(item) for item in self.blocking],
            "closest": [asdict(item) for item in self.items[:SHOWN]],
            "turns": self.turns,
            "turns_read_for_similarity": self.read,
            "long": LONG,
            "short": SHORT,
        }

    def sentence(self) -> str:
        """The finding in one line."""
        if self.blocking:
            return f"{self.sharing()} {LONG} words with this file"
        if not self.items:
            return "No test item was compared"
        first = self.items[0]
        partly = sum(item.containment_8 > 0 for item in self.items)
        return (
            f"No scenario or question shares {LONG} words in a row with this file "
            f"({partly} of {len(self.items)} share {SHORT}); closest by TF-IDF: {first.item_id}, "
            f"{first.similarity:.2f}"
        )

    def sharing(self) -> str:
        """`1 test item shares`, `2 test items share`."""
        verb = "shares" if len(self.blocking) == 1 else "share"
        return f"{count(len(self.blocking), 'test item')} {verb}"

    def defects(self) -> tuple[Defect, ...]:
        """One for each item that may have been learned by heart, as `validate` tells it."""
        return tuple(
            Defect(
                code="contamination",
                message=f"Conversation {item.conversation_id} shares {LONG} words in a row with "
                f'{item.kind} {item.item_id}, which we test with: "{item.shared}"',
                conversation_id=item.conversation_id,
                fix=MEND,
            )
            for item in self.blocking
        )

    def refuse(self) -> None:
        """DatasetError when an item may have been learned by heart."""
        if not self.blocking:
            return
        lines = [
            f'  {item.kind} {item.item_id} and conversation {item.conversation_id}: "{item.shared}"'
            for item in self.blocking[:SHOWN]
        ]
        more = len(self.blocking) - SHOWN
        tail = f"\n  ... and {more} more" if more > 0 else ""
        raise DatasetError(
            f"{self.sharing()} {LONG} or more words in a row with "
            "the training data:\n" + "\n".join(lines) + tail,
            cause="what is tested would be tested on what was learned by heart",
            fix=MEND,
        )


def items_of(scenarios: Iterable[Scenario], questions: Iterable[Question]) -> tuple[Item, ...]:
    """What is asked; of a question every option counts by itself."""
    told = (Item("scenario", s.scenario_id, (s.client_message,)) for s in scenarios)
    asked = (Item("question", q.question_id, (q.question, *q.options)) for q in questions)
    return (*told, *asked)


def check(items: Sequence[Item], turns: Callable[[], Turns]) -> Contamination:
    """Compare with the (conversation id, text) of all client and advisor turns; streams them."""
    asked = [[words(text) for text in item.segments] for item in items]
    short = [grams(segments, SHORT) for segments in asked]
    long = [grams(segments, LONG) for segments in asked]
    holders: dict[str, list[int]] = {}
    for number, some in enumerate(short):
        for gram in some:
            holders.setdefault(gram, []).append(number)
    met: list[set[str]] = [set() for _ in items]
    copied: list[set[str]] = [set() for _ in items]
    shared: dict[int, tuple[str, str]] = {}
    vocabulary: dict[str, int] = {}
    sample: list[tuple[str, Counted]] = []
    draw = random.Random(0)  # noqa: S311 a part of the turns, no secret
    total = 0
    for conversation_id, text in turns():
        read = words(text)
        place = total if total < MOST_TURNS else draw.randrange(total + 1)
        if place < MOST_TURNS:
            sample[place : place + 1] = [(conversation_id, counted(read, vocabulary))]
        total += 1
        for at, gram in enumerate(_windows(read, SHORT)):
            for number in holders.get(gram, ()):
                met[number].add(gram)
                phrase = " ".join(read[at : at + LONG])
                if phrase in long[number]:
                    copied[number].add(phrase)
                    shared.setdefault(number, (conversation_id, phrase))
    whole = [counted((w for text in segments for w in text), vocabulary) for segments in asked]
    nearest = _nearest(whole, sample)
    found = []
    for number, item in enumerate(items):
        similarity, where = nearest[number]
        conversation, phrase = shared.get(number, (where, ""))
        eight = len(met[number]) / max(1, len(short[number]))
        thirteen = len(copied[number]) / max(1, len(long[number]))
        shares = eight, thirteen
        found.append(Closeness(item.kind, item.item_id, *shares, similarity, conversation, phrase))
    order = sorted(found, key=lambda c: (not c.shared, -c.containment_8, -c.similarity, c.item_id))
    return Contamination(tuple(order), total, len(sample))


def of_file(
    file: Path, scenarios: Iterable[Scenario], questions: Iterable[Question]
) -> Contamination:
    """What is asked against all turns of a valid file."""
    return check(
        items_of(scenarios, questions),
        lambda: (
            (one.conversation_id, str(message["content"]))
            for one in conversations(file)
            for message in one.messages()
            if message["role"] != "system"
        ),
    )


def turns_of(folder: RunFolder) -> Iterator[tuple[str, str]]:
    """(conversation id, text) of what clients and the adviser say in the training part."""
    with folder.fs.open(folder.path("data/train.jsonl"), "rb") as lines:
        for line in lines:
            row = json.loads(line)
            for message in row["messages"]:
                if message["role"] != "system":
                    yield str(row["conversation_id"]), str(message["content"])


def words(text: str) -> list[str]:
    """Lower-case words; punctuation and typographic apostrophes do not hide a copy."""
    return WORD.findall(text.lower().replace("\u2019", "'"))


def _windows(read: Sequence[str], size: int) -> Iterator[str]:
    return (" ".join(read[at : at + size]) for at in range(len(read) - size + 1))


def grams(segments: Iterable[Sequence[str]], size: int) -> set[str]:
    """Word sequences of that many words in any of the segments."""
    return {gram for read in segments for gram in _windows(read, size)}


def counted(read: Iterable[str], vocabulary: dict[str, int]) -> Counted:
    """A text without its order: 8 bytes for a word that it has. New words join the vocabulary."""
    times = Counter(read)
    numbers = (vocabulary.setdefault(word, len(vocabulary)) for word in times)
    size = len(times)
    return np.fromiter(numbers, np.int32, size), np.fromiter(times.values(), np.int32, size)


def _nearest(
    asked: Sequence[Counted], sample: Sequence[tuple[str, Counted]]
) -> list[tuple[float, str]]:
    """(highest cosine, conversation) of each text; (0, "") without turns."""
    if not sample or not asked:
        return [(0.0, "")] * len(asked)
    weights = weighted([*asked, *(read for _, read in sample)])
    turns = weights[len(asked) :].T
    found = []
    for first in range(0, len(asked), AT_ONCE):
        cosines = (weights[first : min(first + AT_ONCE, len(asked))] @ turns).toarray()
        best = cosines.argmax(axis=1)
        found += [(float(cosines[row, at]), sample[at][0]) for row, at in enumerate(best)]
    return found


def tf_idf(texts: Iterable[Sequence[str]]) -> csr_array:
    """`weighted` for texts as words."""
    vocabulary: dict[str, int] = {}
    return weighted([counted(read, vocabulary) for read in texts])


def weighted(texts: Sequence[Counted]) -> csr_array:
    """Rows of length 1: (1 + log tf) x (1 + log((1 + n) / (1 + df))) of each text's words."""
    at = np.concatenate([numbers for numbers, _ in texts])
    rows = np.repeat(np.arange(len(texts), dtype=np.int32), [len(some) for some, _ in texts])
    spread = np.bincount(at, minlength=1)
    idf = 1 + np.log((1 + len(texts)) / (1 + spread))
    values = (1 + np.log(np.concatenate([times for _, times in texts]))) * idf[at]
    length = np.sqrt(np.bincount(rows, weights=values**2, minlength=len(texts)))
    return csr_array((values / length[rows], (rows, at)), shape=(len(texts), len(spread)))


def table(found: dict[str, Any]) -> Table:
    """The closest items, as the report shows them; `found` is as_json()."""
    columns = (
        "kind", "item_id", "containment_8", "containment_13", "similarity", "conversation_id"
    )  # fmt: skip
    return Table(
        columns=columns,
        rows=tuple(tuple(row[name] for name in columns) for row in found["closest"]),
        caption=f"What is tested against {found['turns']:,} training turns, the closest "
        f"{len(found['closest'])} of {found['items']}: share of its {SHORT}- and {LONG}-word "
        f"sequences that stand there (one of {LONG} stops the job), highest TF-IDF cosine.",
    )
