"""The playground on the GPU machine: one line in, the words of each model out."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from trainer_jobs import IN_PROCESS, adapted, altered, bench

from brightrun.tokens import ChatTokenizer

pytestmark = IN_PROCESS


def test_the_playground_writes_what_generation_at_temperature_0_writes(
    torch: Any, tokenizer: ChatTokenizer
) -> None:
    from trainer.playground import Playground, messages_of, serve

    model = altered(adapted(torch), 0.2)
    played = Playground(replace(bench(torch, model), tokenizer=tokenizer), 6)
    asked, told = (
        io.StringIO('{"messages": [{"role": "user", "content": "Hi"}]}\nx\n'),
        io.StringIO(),
    )
    serve(played, asked, told)
    events = [json.loads(line) for line in told.getvalue().splitlines()]
    assert events[0] == {"ready": True}
    assert "request" in events[-1]["error"]["message"]
    prompt = torch.tensor([tokenizer.prompt(messages_of(asked.getvalue().splitlines()[0]))])
    texts = set()
    for name in ("baseline", "trained"):
        with played.bench.as_model(name):
            made = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6,
                do_sample=False, eos_token_id=tokenizer.eot_id, pad_token_id=tokenizer.eot_id,
            )[0, prompt.shape[1] :].tolist()  # fmt: skip
        expected = tokenizer.decode([token for token in made if token != tokenizer.eot_id])
        found = "".join(e.get("text", "") for e in events if e.get("model") == name)
        assert found == expected
        texts.add(found)
    assert len(texts) == 2


def test_whatever_a_library_raises_the_next_line_is_answered(torch: Any) -> None:
    from trainer.playground import serve

    def answer(messages: list[Any]) -> Any:
        if messages[0]["content"] == "bad":
            raise IndexError("position 9 is out of range")
        yield {"done": messages[0]["content"]}

    lines = [json.dumps({"messages": [{"role": "user", "content": c}]}) for c in ("bad", "Grüße")]
    told, played = io.StringIO(), SimpleNamespace(answer=answer)
    serve(played, io.StringIO("\n".join(lines)), told)  # type: ignore[arg-type]
    _, problem, answered = (json.loads(line) for line in told.getvalue().splitlines())
    assert problem["error"]["message"] == "position 9 is out of range"
    assert answered == {"done": "Grüße"}
    assert told.getvalue().isascii()
