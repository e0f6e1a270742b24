"""Chat templates as their makers publish them (TRL carries Llama's and Qwen2.5's unchanged)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from brightrun.chat import TEMPLATES, Family


def _of_trl(name: str) -> str:
    found = find_spec("trl")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "chat_templates"
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


def _chatml(default: str) -> str:
    """SmolLM2's and Qwen2's (Apache-2.0): both differ in the default system prompt only."""
    return (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\n" + default + "<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


GENUINE: dict[str, str] = {
    "llama3": _of_trl("llama3"),
    "llama3.1": _of_trl("llama3_1"),
    "llama3.2": _of_trl("llama3_2"),
    # 3.3 was published with 3.1's, character for character (compared with the copy that llama.cpp
    # had as models/templates/meta-llama-Llama-3.3-70B-Instruct.jinja).
    "llama3.3": _of_trl("llama3_1"),
    "qwen2.5": _of_trl("qwen2_5"),
    "qwen3": _of_trl("qwen3"),
    "smollm2": _chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "qwen2": _chatml("You are a helpful assistant."),
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'"
    " + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
}
# Which of ours writes what they write.
OURS: dict[str, Family] = {
    "llama3": "llama3",
    "llama3.1": "llama3.1",
    "llama3.2": "llama3.1",
    "llama3.3": "llama3.1",
    "chatml": "chatml",
    "smollm2": "smollm2",
    "qwen2": "qwen2",
    "qwen2.5": "qwen2.5",
}


def byte_tokenizer(family: Family) -> Tokenizer:
    """One token per byte, and the family's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(BPE(vocab={c: n for n, c in enumerate(alphabet)}, merges=[]))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    found.add_special_tokens(list(TEMPLATES[family].controls))
    return found
