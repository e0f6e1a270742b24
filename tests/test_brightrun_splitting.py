"""Long conversations: split at turn boundaries, every target kept once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brightrun.conversations import Message
from brightrun.splitting import parts_of, trained

HEAD: Message = {"role": "system", "content": "s" * 9}


def lengths(conversations: list[list[Message]]) -> list[int]:
    """One token per letter, and two for every turn."""
    return [sum(len(m["content"]) + 2 for m in one) for one in conversations]


def talk(*turns: tuple[int, int, bool]) -> list[Message]:
    """(letters asked, letters answered, trained on) of each question and answer."""
    found = [HEAD]
    for number, (asked, answered, on) in enumerate(turns):
        found.append({"role": "user", "content": chr(97 + number) * asked})
        answer: Message = {"role": "assistant", "content": chr(65 + number) * answered}
        found.append(answer if on else {**answer, "supervised": False})
    return found


def test_a_conversation_that_fits_stays_whole() -> None:
    whole = talk((3, 4, True), (3, 4, True))
    assert parts_of(whole, lengths([whole])[0], lengths) == [whole]


def test_parts_are_even_and_begin_with_system_prompt_and_client() -> None:
    whole = talk(*[(3, 3, True)] * 4)  # 11 + 4 x 10 tokens
    parts = parts_of(whole, 45, lengths)
    assert lengths(parts) == [31, 31]  # not 41 and 21
    assert [[m["role"] for m in part[:3]] for part in parts] == [
        ["system", "user", "assistant"]
    ] * 2


def test_a_question_with_its_answer_is_never_cut() -> None:
    whole = talk((3, 3, True), (3, 90, True), (3, 3, True))
    parts = parts_of(whole, 45, lengths)
    assert [len(part) for part in parts] == [3, 3, 3]
    assert lengths(parts) == [21, 108, 21]


def test_an_end_without_a_target_is_left_out() -> None:
    whole = talk((3, 3, True), (3, 3, False), (3, 3, False), (3, 3, True))
    assert [len(part) for part in parts_of(whole, 31, lengths)] == [3, 5]
    silent = talk((3, 3, True), (30, 30, False), (3, 3, True))
    assert [len(part) for part in parts_of(silent, 31, lengths)] == [3, 3]


TURNS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 30), st.booleans()), min_size=1, max_size=12
)


@given(turns=TURNS, limit=st.integers(20, 150))
def test_every_target_stands_in_exactly_one_part(
    turns: list[tuple[int, int, bool]], limit: int
) -> None:
    whole = talk(*turns, (1, 1, True))
    parts = parts_of(whole, limit, lengths)
    assert [m for part in parts for m in part if trained(m)] == [m for m in whole if trained(m)]
    for part in parts:
        assert part[0] == HEAD
        assert part[1]["role"] == "user"
        assert trained(part[-1])
        assert lengths([part])[0] <= limit or len(part) == 3 or parts == [whole]
    said = [m["content"] for part in parts for m in part[1:]]
    assert len(said) == len(set(said))
