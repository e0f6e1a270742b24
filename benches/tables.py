"""Put the newest results into the pages under docs/: `python -m benches.tables [FOLDER]`.

Only what stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; a part without results
stays as it is. Cells: median (lowest to highest) over the repeats.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benches.sample import ROOT, lines

DOCS = ROOT / "docs"
USUAL = "benchmarks.md"
PAGES = {"load": "production.md"}  # of those that stand elsewhere
Row = dict[str, Any]


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".brightrun/bench")
    for name, write in TABLES.items():
        if rows := lines(folder / f"{name}.jsonl"):
            page = DOCS / PAGES.get(name, USUAL)
            try:
                text = replaced(page.read_text(encoding="utf-8"), name, write(rows))
            except KeyError as missing:
                print(f"{name}: the results of an older bench lack {missing}; run it again")
            else:
                page.write_text(text, encoding="utf-8")
    return 0


def replaced(page: str, name: str, text: str) -> str:
    """The page with another text between the marks of `name`; ValueError when it has none."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page or end not in page:
        raise ValueError(f"the page has no marks of {name!r}")
    return re.sub(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{text}{end}",
        page,
        flags=re.S,
    )


def training(rows: Sequence[Row]) -> str:
    """All contenders on one file; times as CPU seconds, beside them wall seconds."""
    last = rows[-1]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    mine = [row["cpu_s"] for row in rows if row["contender"] == "ours"]
    head = ("", "tokens per epoch", "CPU s per epoch", "times ours", "wall s", "perplexity",
            "at ours' CPU time", "peak MB", "by formula", "repeats")  # fmt: skip
    body = []
    for name in names:
        own = [row for row in rows if row["contender"] == name]
        cpu = [row["cpu_s"] / row["epochs"] for row in own]
        body.append(
            (
                name,
                f"{own[0]['tokens_per_epoch']:,}",
                spread(cpu, 1),
                f"{median(cpu) * last['epochs'] / median(mine):.2f}" if mine else "-",
                spread([row["wall_s"] / row["epochs"] for row in own], 0),
                spread([row["perplexity"] for row in own], 2),
                at_equal_time(own),
                f"{max(row['peak_mb'] for row in own):,}",
                f"{own[0]['formula_mb']:,}" if own[0].get("formula_mb") else "-",
                str(len(own)),
            )
        )
    before = median([row["perplexity_before"] for row in rows if row["perplexity_before"]])
    seeds = len({row["seed"] for row in rows})
    shorter = f" of at most {last['longest_taken']:,} tokens" if last["longest_taken"] else ""
    load = spread([row["load_average"] for row in rows], 1)
    where = f"{last['at'][:10]}, {last['cpu']}, {last['threads']} threads, load average {load}"
    return (
        f"{table(head, body)}\n{last['file']}: the first {last['conversations']} training and "
        f"{last['held_out']} held-out conversations{shorter}, {last['epochs']} epoch, "
        f"{last['steps']} steps, {seeds} seeds, perplexity before {before:.2f}. {where}; "
        f"{versions(last)}.\n"
    )


def at_equal_time(rows: Sequence[Row]) -> str:
    """Perplexity when ours had ended, and after how many optimizer steps that was."""
    seen = [row for row in rows if row["perplexity_at_cpu"]]
    if not seen:
        return "-"
    steps = spread([row["steps_at_cpu"] for row in seen], 0)
    return f"{spread([row['perplexity_at_cpu'] for row in seen], 2)} after {steps} steps"


def calibration(rows: Sequence[Row]) -> str:
    """Errors of the fit beside those of the mean of identical micro-steps in the same rounds."""
    head = ("size", "batch", "precision", "first rounds", "inside the range", "identical ones",
            "interleaved", "identical ones", "their spread",
            "first step takes")  # fmt: skip
    signed = ("error", "repeat_error", "interleaved_error", "interleaved_repeat_error")
    body = []
    for row in rows:
        first, repeats, spread_out, again = (f"{row[name]:+.1%}" for name in signed)
        body.append(
            (row["size"], row["shape"], row["precision"], first, "yes" if row["inside"] else "no",
             repeats, spread_out, again, f"{row['repeat_spread']:.1%}", f"{row['warm_up']:.2f}x")
        )  # fmt: skip
    said = {name: [abs(row[name]) for row in rows] for name in signed}
    words = {name: f"median {median(of):.1%}, worst {max(of):.1%}" for name, of in said.items()}
    bars = {
        name: "met" if within_bars(said[name], said[repeats]) else "**missed**"
        for name, repeats in (("error", "repeat_error"),
                              ("interleaved_error", "interleaved_repeat_error"))
    }  # fmt: skip
    last = rows[-1]
    return (
        f"{table(head, body)}\nError of the later rounds from the first ones: {words['error']} "
        f"(identical micro-steps by their mean: {words['repeat_error']}). Interleaved: "
        f"{words['interleaved_error']} (identical ones: {words['interleaved_repeat_error']}). "
        f"The bars (median under 5 % or that of identical ones, worst under 15 %) are "
        f"{bars['error']} from the first rounds and {bars['interleaved_error']} interleaved. "
        f"{last['at'][:10]}, {last['threads']} threads, load average {last['load_average']}.\n"
    )


def within_bars(errors: Sequence[float], identical: Sequence[float]) -> bool:
    """Whether a forecast is as good as wanted. errors, identical: absolute shares."""
    return median(errors) < max(0.05, median(identical)) and max(errors) < 0.15


def measuring(rows: Sequence[Row]) -> str:
    """Both ways to measure, part by part, in CPU seconds."""
    parts = list(rows[0]["parts"])
    head = ("", *parts, "all", "times ours", "wall s", "peak MB", "repeats")
    mine = median([row["cpu_s"] for row in rows if row["contender"] == "ours"])
    body = []
    for name in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if row["contender"] == name]
        cpu = [row["cpu_s"] for row in own]
        body.append(
            (
                name,
                *(f"{median([row['parts'][part] for row in own]):.1f}" for part in parts),
                spread(cpu, 1),
                f"{median(cpu) / mine:.2f}",
                spread([row["wall_s"] for row in own], 0),
                f"{max(row['peak_mb'] for row in own):,}",
                str(len(own)),
            )
        )
    last = rows[-1]
    same = min(row["answers_equal"] for row in rows)
    return (
        f"{table(head, body)}\nCPU seconds. {last['scenarios']} scenarios x 2 models, up to "
        f"{last['max_new_tokens']} tokens, {last['questions']} questions, {last['rotations']} "
        f"order, {last['held_out']} held-out conversations, {last['passages']} passages. Same "
        f"numbers: {same} of {last['answers']} answers word for word, at most "
        f"{max(row['most_nats_apart'] for row in rows):.1e} nats apart. {last['at'][:10]}, "
        f"{last['cpu']}, {last['threads']} threads, load average "
        f"{spread([row['load_average'] for row in rows], 1)}; {versions(last)}.\n"
    )


def recovery(rows: Sequence[Row]) -> str:
    head = ("base model", "checkpoints", "stall", "detect", "start", "import", "load", "restore",
            "first step", "kill to step")  # fmt: skip
    parts = ("detect_s", "start_s", "import_s", "load_s", "restore_s", "step_s", "first_step_s")
    body = [
        (row["base_model"], f"{row['checkpoints']} of {row['checkpoint_bytes'] / 1e6:.1f} MB",
         f"{row['stall_share']:.1%}", *(f"{restart[part]:.1f} s" for part in parts))
        for row in rows
        for restart in row["restarts"]
    ]  # fmt: skip
    loads = spread([row["load_average"] for row in rows], 1)
    return f"{table(head, body)}\nLoad average {loads}.\n"


def load(rows: Sequence[Row]) -> str:
    """Every number beside what it is held against; parts in the order of the file."""
    body = []
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [row for row in rows if row["part"] == part]
        for place, row in enumerate(own):
            met = {True: "met", False: "**missed**", None: ""}[row["met"]]
            measured = f"{row['value']:,} {row['unit']}".strip()
            if row["cpu_s"] is not None:
                measured += f" ({row['cpu_s']:.2f} CPU s)"
            body.append((part if place == 0 else "", row["what"], measured, row["wanted"], met))
    days = sorted({row["at"][:10] for row in rows})
    loads = spread([row["load_average"] for row in rows], 1)
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    found = table(("", "measured", "found", "wanted", ""), body)
    return f"{found}\n{when}, {rows[-1]['cores']} cores, load average {loads}.\n"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *body))


def spread(values: Sequence[float], digits: int) -> str:
    """`12.3 (11.9 to 12.8)`; one value stands alone."""
    middle = f"{median(values):,.{digits}f}"
    if len(values) < 2:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def versions(row: Row) -> str:
    return ", ".join(f"{name} {version}" for name, version in row["versions"].items())


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "training": training,
    "training-tiny": training,
    "training-eq12": training,
    "calibration": calibration,
    "recovery": recovery,
    "measuring": measuring,
    "load": load,
}


if __name__ == "__main__":
    sys.exit(main())
