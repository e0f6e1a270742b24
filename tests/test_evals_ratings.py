"""Filled sheets: every bad cell is found and located, good ones are read whatever saved them."""

from __future__ import annotations

from pathlib import Path

import pytest
from rating_sheets import RUBRIC, answered, as_file, sheet_rows

from brightrun.errors import EvaluationError
from brightrun.runfolder import RunFolder
from evals import human, ratings
from evals.rating_file import Problem
from evals.rating_sheet import GUESS
from evals.ratings import Drawn

NAMES = [f"S{n:02d}" for n in range(1, 13)]
Made = tuple[RunFolder, Drawn]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    folder = answered(tmp_path, NAMES)
    return folder, ratings.draw(folder, 42, 3)


def take(
    made: Made, content: bytes, name: str = "r.csv", *, replace: bool = False
) -> ratings.Import:
    return ratings.take(made[0], [(name, content)], RUBRIC, replace=replace)


def places(problems: tuple[Problem, ...]) -> set[tuple[int | None, str]]:
    return {(p.row, p.column) for p in problems}


def test_a_filled_sheet_is_taken_and_gives_scores_by_model(made: Made) -> None:
    folder, drawn = made
    done = take(made, as_file(sheet_rows(drawn.of(1))))
    assert (done.problems, done.new, done.sheets[0].missing) == ((), (1,), ())
    people = human.people(ratings.taken(folder, RUBRIC))
    assert people
    found = people.opinions()
    assert {s.judge for s in found.scores} == {"rater 1"}
    assert len({s.scenario_id for s in found.scores}) == 12
    assert min(s.value for s in found.scores if s.model == "trained") >= 4
    assert max(s.value for s in found.scores if s.model == "baseline") <= 3
    assert {c.preferred for c in found.choices} == {"trained"}
    assert human.constancy(people.rows[1]) == 0


def test_every_problem_is_told_at_once_with_its_place_and_mend(made: Made) -> None:
    rows = sheet_rows(made[1].of(1))
    rows[0]["validation_A"] = "6"
    rows[1]["validation_B"] = "4,5"
    rows[2]["preferred"] = "tie"  # the preference is forced
    rows[3]["facts_A"] = "wrong"
    rows[4]["facts_B"], rows[4]["quote_B"] = "questionable", "words that nobody wrote"
    rows[5]["validation_A"] = "=1+3"
    rows[6]["item"] = "00000000-R1-007"
    rows[7] = dict(rows[8])
    done = take(made, as_file(rows))
    assert places(done.problems) == {
        (2, "validation_A"), (3, "validation_B"), (4, "preferred"), (5, "quote_A"), (6, "quote_B"),
        (7, "validation_A"), (8, "item"), (10, "item"),
    }  # fmt: skip
    assert all(p.file == "r.csv" and p.fix for p in done.problems)
    assert "whole number from 1 to 5" in str(done.problems[0])
    assert not made[0].exists(ratings.TAKEN)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.replace(b",", b";"),
        lambda text: text.replace(b",4,", b',"4,0",').replace(b",4,", b",4.0,"),
    ],
    ids=["bom", "crlf", "utf-16", "semicolons", "decimals"],
)
def test_what_a_spreadsheet_does_to_a_file_is_read(made: Made, change) -> None:  # type: ignore[no-untyped-def]
    plain = as_file(sheet_rows(made[1].of(1)))
    take(made, plain)
    people = human.people(ratings.taken(made[0], RUBRIC))
    changed = take(made, change(plain), replace=True)
    assert (changed.problems, changed.new) == ((), (1,))
    again = human.people(ratings.taken(made[0], RUBRIC))
    assert people
    assert again
    assert again.opinions() == people.opinions()


def test_blank_rows_do_not_move_the_row_of_a_problem(made: Made) -> None:
    rows = sheet_rows(made[1].of(1))
    rows[2]["validation_A"] = "6"
    lines = as_file(rows).split(b"\n")
    blank = b"," * lines[0].count(b",")
    done = take(made, b"\n".join([lines[0], b"", blank, *lines[1:]]))
    assert places(done.problems) == {(6, "validation_A")}


def test_a_sheet_without_any_difference_is_refused(made: Made) -> None:
    rows = sheet_rows(made[1].of(1), lambda item, column, side: 3)
    (problem,) = take(made, as_file(rows)).problems
    assert "all" in problem.message
    assert "are 3" in problem.message


def test_blank_cells_and_absent_rows_are_told_as_missing_and_left_out(made: Made) -> None:
    rows = sheet_rows(made[1].of(1))
    rows[0]["validation_A"] = ""
    done = take(made, as_file(rows[:-1]))
    assert done.problems == ()
    assert done.sheets[0].missing == (
        f"{rows[0]['item']}: validation_A",
        f"{rows[-1]['item']}: the whole row",
    )
    people = human.people(ratings.taken(made[0], RUBRIC))
    assert people
    item = made[1].of(1)[0]
    said = [s for s in people.opinions().scores if s.scenario_id == item.scenario_id]
    assert (item.a, "validation") not in {(s.model, s.dimension) for s in said}


def test_later_raters_are_added_and_a_second_sheet_needs_replace(made: Made) -> None:
    folder, drawn = made
    first = as_file(sheet_rows(drawn.of(1)))
    take(made, first)
    assert take(made, first).new == ()
    other = as_file(sheet_rows(drawn.of(1), lambda item, column, side: 2 + (side == "A")))
    assert "already" in take(made, other).problems[0].message
    assert take(made, other, replace=True).new == (1,)
    assert take(made, as_file(sheet_rows(drawn.of(2)))).new == (2,)
    assert sorted(ratings.taken(folder, RUBRIC)) == [1, 2]


def test_two_files_of_one_rater_and_two_raters_in_one_file_are_refused(made: Made) -> None:
    folder, drawn = made
    one = as_file(sheet_rows(drawn.of(1)))
    done = ratings.take(folder, [("a.csv", one), ("b.csv", one)], RUBRIC)
    assert "also has a.csv" in done.problems[0].message
    both = as_file(sheet_rows(drawn.of(1)) + sheet_rows(drawn.of(2)))
    assert "raters 1, 2" in take(made, both).problems[0].message


def test_more_raters_later_leave_the_sheets_that_are_out_as_they_were(made: Made) -> None:
    folder, drawn = made
    more = ratings.draw(folder, 42, 5)
    assert more.raters == 5
    assert more.of(2) == drawn.of(2)
    assert ratings.draw(folder, 42, 2).raters == 5


def test_a_changed_sheet_in_the_run_folder_and_changed_answers_are_refused(made: Made) -> None:
    folder, drawn = made
    take(made, as_file(sheet_rows(drawn.of(1))))
    name = folder.read_json(ratings.TAKEN)["1"]["sha256"]
    path = f"evals/ratings/{name}.csv"
    folder.write_bytes(path, folder.read_bytes(path).replace(b",4,", b",5,", 1))
    with pytest.raises(EvaluationError, match="changed after its import"):
        ratings.taken(folder, RUBRIC)
    rows = folder.read_jsonl(ratings.ANSWERS)
    rows[0]["text"] += " more"
    folder.write_jsonl(ratings.ANSWERS, rows)
    with pytest.raises(EvaluationError, match="not those that people have rated"):
        ratings.draw(folder, 42, 3)


def test_wrong_after_training_only_is_told_with_the_words_meant(made: Made) -> None:
    folder, drawn = made
    rows = sheet_rows(drawn.of(1))
    item = drawn.of(1)[0]
    side = "A" if item.a == "trained" else "B"
    rows[0][f"facts_{side}"], rows[0][f"quote_{side}"] = "wrong", "costs  $40"
    rows[0]["comment"] = "=SUM(1)"
    take(made, as_file(rows))
    people = human.people(ratings.taken(folder, RUBRIC))
    assert people
    table, facts = human.correctness(people)
    assert facts["wrong_after_training_only"] == [item.scenario_id]
    assert table.rows[0][:3] == (item.scenario_id, "trained", "wrong")


def test_guesses_are_counted_and_not_scored(made: Made) -> None:
    folder, drawn = made
    rows = sheet_rows(drawn.of(1))
    for row, item in zip(rows, drawn.of(1), strict=True):
        if item.guess:
            row[GUESS] = "A" if item.a == "trained" else "B"
    take(made, as_file(rows))
    people = human.people(ratings.taken(folder, RUBRIC))
    assert people
    found = human.blinding(people)
    assert (found["guessed"], found["share"]) == (10, 1.0)
    assert found["ci_low"] > 0.5


def test_a_file_without_header_or_with_strange_columns_says_so(made: Made) -> None:
    assert "no header" in take(made, b"hello\n1,2\n").problems[0].message
    rows = as_file(sheet_rows(made[1].of(1))).replace(b"validation_A", b"validaton_A", 1)
    found = {(p.column, p.row) for p in take(made, rows).problems}
    assert {("validaton_A", 1), ("validation_A", 1)} <= found
