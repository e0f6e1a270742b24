"""The base model `tiny`: a generated Llama with about 4 million random weights, for tests.

Always the same weights (seeded). Dimensions are multiples of 64, as the 4-bit kernels ask.
Its tokenizer is a byte-level BPE trained on the example training file when it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 4096
CONTEXT = 8192
SEED = 20240611
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Stands in for the example file, so that the model can be made anywhere.
BUILT_IN_TEXT = (
    "Money is emotional, and what you feel about it makes sense.",
    "I hear how heavy this has been. May I share one idea about your savings account?",
    "A retirement plan, an emergency fund, an index fund, a credit card, a mortgage, a budget.",
    "You are an emotionally intelligent financial advisor. Answer with warmth and one clear step.",
    "It sounds like you feel anxious and ashamed. Many people do, and it says nothing bad.",
    "Next week, write down three numbers: what comes in, what goes out, and what is left.",
    "Which of these options is correct? A. B. C. D. Answer with the letter only.",
)


def build(folder: Path, example: Path | None) -> dict[str, Any]:
    """Write the model's files into `folder`; returns its facts for prepared.json."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    _tokenizer(texts(example)).save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=1))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return {"source": f"generated, seed {SEED}", "license": "none", "meaningful": False}


def texts(example: Path | None) -> list[str]:
    """What the tokenizer is trained on: the strings of the example file, or the built-in text."""
    if example is None or not example.is_file():
        return list(BUILT_IN_TEXT)
    return [*BUILT_IN_TEXT, *_strings(json.loads(example.read_bytes()))]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(entry)


def _tokenizer(lines: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer
