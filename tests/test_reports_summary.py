"""Page 1 says what was done, and when most of the trained answers are no answers."""

from __future__ import annotations

import report_jobs
import report_samples

from brightrun.jobs import Preset, preset_of
from brightrun.verdicts import ReportData
from reports import collect, deck, numbers, packagetexts, paper, render, summary, validation


def sample(**trained: int) -> ReportData:
    data = report_samples.sample()
    facts = {**data.evaluation.facts, "answers": {"trained": trained}}
    return data.model_copy(
        update={"evaluation": data.evaluation.model_copy(update={"facts": facts})}
    )


def test_a_model_was_trained_to_answer_and_nothing_says_that_it_learned_to() -> None:
    said = summary.trained(sample(answers=12, truncated=5))
    assert "and was trained to answer as the advisor does." in said
    assert "learned" not in said


def test_answers_that_mostly_loop_or_are_cut_off_are_told_with_their_counts() -> None:
    said = summary.trained(sample(answers=12, truncated=11, looping=10, truncated_or_looping=11))
    assert said.endswith(
        " Most of the trained answers cannot be used as they are: of 12, 11 were cut off at the "
        "length limit of 96 tokens and 10 go round in circles."
    )
    either = sample(answers=12, truncated=4, looping=4, truncated_or_looping=7)
    assert "of 12, 4 were cut off" in summary.trained(either)


def test_half_of_the_answers_are_not_most() -> None:
    half = sample(answers=12, truncated=5, looping=3, truncated_or_looping=6)
    assert "cannot be used" not in summary.trained(half)
    assert "cannot be used" not in summary.trained(sample())


def test_an_older_report_without_the_count_of_loops_tells_what_it_knows() -> None:
    said = summary.trained(sample(answers=12, truncated=7))
    assert said.endswith("of 12, 7 were cut off at the length limit of 96 tokens.")


def test_examples_are_called_greedy_only_where_they_are() -> None:
    data = report_samples.sample()
    assert "system prompt and greedy decoding." in validation._examples_sentence(data)
    drawn = {**data.evaluation.facts, "decoding": {"do_sample": True, "temperature": 0.7}}
    evaluation = data.evaluation.model_copy(update={"facts": drawn})
    said = validation._examples_sentence(data.model_copy(update={"evaluation": evaluation}))
    assert "the same decoding (drawn by seed at temperature 0.7, first pass)" in said
    assert "greedy" not in said


def test_a_withdrawn_index_calls_no_example_best_or_worst() -> None:
    data = report_samples.sample()
    assert "best and the" in validation._examples_sentence(data)
    assert [e.why for e in deck.chosen(data.evaluation.examples)] == ["best", "worst", "random"]
    drawn = tuple(e.model_copy(update={"why": "random"}) for e in data.evaluation.examples)
    facts = {**data.evaluation.facts, "withdrawn_markers": ["voice_index"]}
    evaluation = data.evaluation.model_copy(update={"facts": facts, "examples": drawn})
    said = validation._examples_sentence(data.model_copy(update={"evaluation": evaluation}))
    assert "the voice index is withdrawn and ranks none; " in said
    assert "best" not in said
    assert deck.chosen(drawn) == list(drawn[:3])


def from_elsewhere(data: ReportData) -> ReportData:
    facts = {**data.evaluation.facts, "foreign_adapter": "ab12" * 16}
    evaluation = data.evaluation.model_copy(update={"facts": facts})
    return data.model_copy(update={"evaluation": evaluation})


def test_a_report_claims_no_split_for_an_adapter_from_elsewhere() -> None:
    data = report_samples.sample()
    own, foreign = (
        " ".join(paper.fill(render.paper_of(found, "pandoc", "ab12", {})).split())
        for found in (data, from_elsewhere(data))
    )
    for claimed in ("were held out from training", "shares a line with the training data"):
        assert (claimed in own, claimed in foreign) == (True, False), claimed
    for doubt in ("whether this adapter has seen them", "Whether a tested conversation shares"):
        assert (doubt in own, doubt in foreign) == (False, True), doubt
    assert "never saw" not in own + foreign


def test_nothing_is_said_of_the_training_of_an_adapter_from_elsewhere() -> None:
    data = report_samples.sample()
    foreign = from_elsewhere(data)
    pages = []
    for found in (data, foreign):
        said = packagetexts.words(found, {}, {}, torch="2", golden=1, adapter={})
        files = [packagetexts.fill(name, said).decode() for name in ("MODEL-CARD.md", "README.md")]
        tiles = summary.tiles(found, found.evaluation.verdicts)
        pages.append(f"{summary.trained(found)} {summary.cover(found)} {tiles} {' '.join(files)}")
    for claimed in ("held back", data.training_file, "20 conversations", "trained by Bright Run"):
        assert [claimed in page for page in pages] == [True, False], claimed
    assert "What it was trained on, and whether it has seen what it is tested on" in pages[1]
    assert "**Trained on**: not known" in pages[1]
    assert "Adapter from elsewhere (sha256)" in dict(numbers.rows(foreign.evaluation.facts))
    spec = report_jobs.spec().model_copy(update={"values": preset_of(Preset.demo).values})
    assert any("Trained for" in cut for cut in collect.cuts(spec))
    assert not any("Trained" in cut for cut in collect.cuts(spec, foreign=True))
