"""How likely the model of an unpacked package finds conversations. Run in the package's folder:

    python -I .../trainer/likeness.py --base FOLDER --texts FILE.json

FILE.json: [{id, messages}]. Prints one JSON line, [{id, nll, tokens}]: nats and number of the
content tokens of all assistant turns. Base, adapter, tokenizer and settings are what the package's
own inference.py loads; nothing of this project is imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

Message = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--texts", type=Path, required=True)
    args = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    texts = json.loads(args.texts.read_text(encoding="utf-8"))
    answerer = load(Path.cwd() / "inference.py", args.base)
    # inference.py breaks up a special token that a text spells; the training read it as plain text.
    plain = [
        t for t in texts if contents(answerer.messages(t["messages"])) == contents(t["messages"])
    ]
    print(json.dumps([{"id": t["id"], **likelihood(answerer, t["messages"])} for t in plain]))


def contents(messages: list[Message]) -> list[str]:
    return [message["content"] for message in messages]


def load(script: Path, base: str) -> Any:
    """The package's own Answerer, as its `--check` makes it."""
    spec = importlib.util.spec_from_file_location("inference", script)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{script} is no Python file")
    inference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inference)
    given = inference.arguments(["--check", "--base", base])
    settings = inference.settings_of(given, script.parent)
    place, revision = inference.base_of(given, settings, script.parent)
    return inference.Answerer(place, revision, script.parent, settings)


def likelihood(answerer: Any, messages: list[Message]) -> dict[str, Any]:
    """{nll, tokens} of the assistant's words, each after all that stands before it."""
    import torch

    ids, places = supervised(answerer, messages)
    given = torch.tensor([ids], device=answerer.model.device)
    with torch.inference_mode():
        logits = answerer.model(input_ids=given).logits[0]
        before = torch.tensor([place - 1 for place in places], device=logits.device)
        wanted = given[0, before + 1]
        said = torch.nn.functional.cross_entropy(
            logits[before].float(), wanted, reduction="none"
        ).double()
    return {"nll": float(said.sum()), "tokens": len(places)}


def supervised(answerer: Any, messages: list[Message]) -> tuple[list[int], list[int]]:
    """All token ids, and the positions of the assistant's words without the end of a turn."""
    whole = rendered(answerer, messages, False)
    places: list[int] = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        begin = rendered(answerer, messages[:number], True)
        if whole[: len(begin)] != begin:
            raise SystemExit("the chat template writes a turn otherwise once another follows")
        end = next(n for n in range(len(begin), len(whole)) if whole[n] in answerer.ends)
        places += range(len(begin), end)
    return whole, places


def rendered(answerer: Any, messages: list[Message], asks: bool) -> list[int]:
    """The ids as `answer` of inference.py writes them."""
    ids = answerer.tokenizer.apply_chat_template(
        answerer.messages(messages),
        add_generation_prompt=asks,
        return_dict=True,
        date_string="26 Jul 2024",
    )["input_ids"]
    return list(ids)


if __name__ == "__main__":
    main()
