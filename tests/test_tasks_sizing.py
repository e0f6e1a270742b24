"""The gate's counts are those of the split that will be trained on."""

from brightrun.durations import Work
from brightrun.jobs import BaseModelRef, DataRef, Hyperparameters, JobSpec
from tasks.sizing import as_split

WORK = Work(
    train_tokens=1000, sum_squared_tokens=100_000, supervised_tokens=400, sequences=8, longest=160,
    epochs=2, steps=8, validation_tokens=300,
)  # fmt: skip


def spec(values: Hyperparameters) -> JobSpec:
    data = DataRef(
        name="file", source_sha256="a", train_sha256="b", validation_sha256="c",
        train_conversations=7, validation_conversations=2, supervised_pairs=14,
        train_tokens=900, supervised_tokens=380,
    )  # fmt: skip
    base = BaseModelRef(name="tiny", context=8192, template="chatml")
    return JobSpec(base_model=base, data=data, values=values, plan_sha256="p", threads=2)


def test_tokens_and_steps_are_those_of_the_split() -> None:
    found = as_split(WORK, spec(Hyperparameters(epochs=2, pairs_per_step=4)))
    assert (found.train_tokens, found.supervised_tokens) == (900, 380)
    assert (found.sequences, found.steps) == (7, 8)  # two conversations of two pairs each a step
    assert found.sum_squared_tokens == 90_000
    assert found.validation_tokens == WORK.validation_tokens


def test_one_sequence_per_pair_stays_in_proportion() -> None:
    assert as_split(WORK, spec(Hyperparameters(sequence="pair"))) == WORK
