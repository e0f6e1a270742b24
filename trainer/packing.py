"""Which conversations of a step share a row: best fit decreasing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from brightrun.errors import ConfigurationError


def rows(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Positions of the sequences of every row; a row holds at most `limit` tokens.

    Best fit decreasing (Johnson 1973: at most 11/9 of the fewest rows possible, plus 4): the
    longest first, each into the fullest row that still has room. Ties keep the given order.
    ValueError for a sequence that is longer than a row.
    """
    made: list[list[int]] = []
    room: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        length = lengths[position]
        if length > limit:
            raise ValueError(f"a sequence of {length} tokens does not fit into a row of {limit}")
        fitting = [at for at, left in enumerate(room) if left >= length]
        if fitting:
            best = min(fitting, key=room.__getitem__)
            made[best].append(position)
            room[best] -= length
        else:
            made.append([position])
            room.append(limit - length)
    return made


def check(packing: bool | None, row: int) -> None:
    """ConfigurationError where packing was asked for and would cost more than it saves: a GPU
    without an attention kernel for sequences of varying length. row: see `choices.packed`.

    The positions keep packed conversations apart everywhere, but without such a kernel the square
    of the whole row is computed. So it is on a CPU: there packing is a slow reference.
    """
    if packing and not row:
        raise ConfigurationError(
            "packing needs an attention kernel for sequences of varying length: this pod has none",
            fault="packing_unsupported",
        )
