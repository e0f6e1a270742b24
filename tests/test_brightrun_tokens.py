"""Ids and masks: equal to transformers' own, and safe against foreign text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import training_files as tf
from genuine_templates import GENUINE
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from brightrun.chat import TEMPLATES, Family, spans, template_text
from brightrun.conversations import Conversation, Message, Turn
from brightrun.errors import ConfigurationError
from brightrun.tokens import ChatTokenizer

FAMILIES: tuple[Family, ...] = ("chatml", "llama3", "llama3.1")
# Llama 3's pre-tokenizer: its newline rule is what could join template and text.
LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TALK: list[Message] = [
    {"role": "system", "content": tf.PROMPT},
    {"role": "user", "content": "I owe $12,400. Is that bad?"},
    {"role": "assistant", "content": "No.\n\nLet us look at it — together. 😟"},
    {"role": "user", "content": "Thanks!"},
    {"role": "assistant", "content": "Gladly."},
]


def trained(family: Family) -> Tokenizer:
    """A byte-level BPE with the family's special tokens and pre-tokenizer."""
    tokenizer = Tokenizer(BPE())
    if family.startswith("llama3"):
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>", *TEMPLATES[family].controls],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [json.dumps(tf.document(3, 6), ensure_ascii=False), "assistant\n\nuser\n\nsystem\n\n"]
    tokenizer.train_from_iterator(corpus * 3, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    found: dict[Family, Path] = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family)
        trained(family).save(str(folder / "tokenizer.json"))
        ours = TEMPLATES[family]
        facts = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": ours.end_of_turn}
        if ours.begins:
            facts["bos_token"] = ours.begins
        (folder / "chat_template.jinja").write_text(REFERENCE[family], encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(facts), encoding="utf-8")
        found[family] = folder
    return found


@pytest.fixture(scope="module")
def theirs(models: dict[Family, Path]) -> dict[Family, Any]:
    from transformers import AutoTokenizer

    return {family: AutoTokenizer.from_pretrained(folder) for family, folder in models.items()}


@pytest.fixture(scope="module")
def ours(models: dict[Family, Path]) -> dict[Family, ChatTokenizer]:
    return {family: ChatTokenizer.load(folder) for family, folder in models.items()}


REFERENCE: dict[Family, str] = {
    "chatml": GENUINE["chatml"],
    "llama3": GENUINE["llama3"],
    "llama3.1": GENUINE["llama3.1"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_equal_those_of_transformers_and_the_model_s_template(
    family: Family, ours: dict[Family, ChatTokenizer], theirs: dict[Family, Any]
) -> None:
    options = {"chat_template": REFERENCE[family], "tokenize": True, "return_dict": False}
    for messages in (TALK, TALK[:3]):
        expected = theirs[family].apply_chat_template(messages, **options)
        assert list(ours[family].encode(messages).input_ids) == list(expected)
    asked = theirs[family].apply_chat_template(TALK[:2], add_generation_prompt=True, **options)
    assert ours[family].prompt(TALK[:2]) == list(asked)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mask_equals_that_of_transformers(
    family: Family, ours: dict[Family, ChatTokenizer], theirs: dict[Family, Any]
) -> None:
    expected = theirs[family].apply_chat_template(
        TALK,
        chat_template=template_text(family),
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    found = ours[family].encode(TALK)
    assert list(found.input_ids) == list(expected["input_ids"])
    assert list(found.supervised) == [bool(flag) for flag in expected["assistant_masks"]]


EDGES = st.text(st.sampled_from(" \n\taB1.é😟"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(EDGES, min_size=4, max_size=4))
@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_equal_for_any_white_space_at_the_edges(
    family: Family,
    texts: list[str],
    ours: dict[Family, ChatTokenizer],
    theirs: dict[Family, Any],
) -> None:
    messages = [{**m, "content": t} for m, t in zip(TALK, [tf.PROMPT, *texts], strict=True)]
    expected = theirs[family].apply_chat_template(
        messages, chat_template=REFERENCE[family], tokenize=True, return_dict=False
    )
    assert list(ours[family].encode(messages).input_ids) == list(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_supervised_is_the_answer_and_its_end_of_turn(
    family: Family, ours: dict[Family, ChatTokenizer]
) -> None:
    tokenizer = ours[family]
    found = tokenizer.encode(TALK)
    kept = [i for i, flag in zip(found.input_ids, found.supervised, strict=True) if flag]
    text = tokenizer.tokenizer.decode(kept, skip_special_tokens=False)
    end = TEMPLATES[family].end_of_turn
    assert text == f"{TALK[2]['content']}{end}{TALK[4]['content']}{end}"
    only = [i for i, flag in zip(found.input_ids, found.content, strict=True) if flag]
    assert tokenizer.decode(only) == f"{TALK[2]['content']}{TALK[4]['content']}"
    assert kept.count(tokenizer.eot_id) == 2
    assert tokenizer.eot_id not in only


@pytest.mark.parametrize("family", FAMILIES)
def test_a_special_token_in_a_text_ends_no_turn(
    family: Family, ours: dict[Family, ChatTokenizer]
) -> None:
    tokenizer = ours[family]
    end = TEMPLATES[family].end_of_turn
    spelled = "".join(TEMPLATES[family].controls) + "<|endoftext|>"
    attack = [{**m, "content": m["content"] + spelled} for m in TALK]
    plain, found = tokenizer.encode(TALK), tokenizer.encode(attack)
    for name in (*TEMPLATES[family].controls, "<|endoftext|>"):
        token = tokenizer.tokenizer.token_to_id(name)
        assert found.input_ids.count(token) == plain.input_ids.count(token)
    assert end in tokenizer.decode(found.input_ids)  # still there, as plain text
    assert tokenizer.count(end) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_of_the_template_in_a_text_are_plain_text(
    family: Family, ours: dict[Family, ChatTokenizer]
) -> None:
    odd = "a \ue000 b \ue001 c \ue0020\ue003 {{ 7 * 7 }} {% for %}"
    talk = [*TALK[:1], {"role": "user", "content": odd}, *TALK[2:]]
    joined = "".join(span.text for span in spans(talk, family))
    assert odd in joined
    assert sum(ours[family].encode(talk).content) == sum(ours[family].encode(TALK).content)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_marked_unsupervised_is_read_but_not_trained_on(
    family: Family, ours: dict[Family, ChatTokenizer]
) -> None:
    talk = [*TALK[:2], {**TALK[2], "supervised": False}, *TALK[3:]]
    all_, some = ours[family].encode(TALK), ours[family].encode(talk)
    assert some.input_ids == all_.input_ids
    assert sum(some.supervised) == ours[family].count("Gladly.") + 1


def test_many_at_once_are_the_same_as_one_by_one(ours: dict[Family, ChatTokenizer]) -> None:
    tokenizer = ours["chatml"]
    talks = [TALK, TALK[:3], [*TALK[:2]]]
    assert tokenizer.encode_many(talks) == [tokenizer.encode(talk) for talk in talks]
    lengths = [(len(e.input_ids), sum(e.supervised)) for e in tokenizer.encode_many(talks)]
    assert tokenizer.lengths(talks) == lengths


def test_leading_tokens_are_the_family_s(ours: dict[Family, ChatTokenizer]) -> None:
    llama, chatml = ours["llama3"], ours["chatml"]
    assert llama.encode(TALK).input_ids[0] == llama.bos_id
    assert llama.encode(TALK).input_ids.count(llama.bos_id or -1) == 1
    assert chatml.bos_id is None
    assert chatml.encode(TALK).input_ids[0] == chatml.tokenizer.token_to_id("<|im_start|>")


def test_preview_is_the_conversation_with_its_answers_marked(
    ours: dict[Family, ChatTokenizer],
) -> None:
    turns = (Turn(1, "user", "Hm?", False, 1), Turn(2, "assistant", "Yes.", True, 2))
    one = Conversation(1, "id", "arc", "persona", "topic", "Be kind.", turns)
    found = ours["chatml"].preview(one)
    assert "".join(text for text, _ in found) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHm?<|im_end|>\n"
        "<|im_start|>assistant\nYes.<|im_end|>\n"
    )
    assert "".join(text for text, trained in found if trained) == "Yes.<|im_end|>"


def test_a_folder_without_a_tokenizer_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ChatTokenizer.load(tmp_path)
    assert "python -m trainer prepare" in caught.value.fix


def test_a_tokenizer_of_another_family_is_refused(tmp_path: Path) -> None:
    Tokenizer(BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match="neither"):
        ChatTokenizer.load(tmp_path)


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    for data in (b"{", b"\xff\xfe", b"[]"):
        (tmp_path / "tokenizer.json").write_bytes(data)
        with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
            ChatTokenizer.load(tmp_path)


def test_control_tokens_must_be_special(tmp_path: Path) -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.add_tokens([AddedToken(name, special=False) for name in TEMPLATES["chatml"].controls])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match="special"):
        ChatTokenizer.load(tmp_path)


def test_the_hash_changes_with_the_tokenizer(
    models: dict[Family, Path], ours: dict[Family, ChatTokenizer]
) -> None:
    assert ours["chatml"].sha256 == ChatTokenizer.load(models["chatml"]).sha256
    assert ours["chatml"].sha256 != ours["llama3"].sha256
