"""Search settings one after the other, each along a grid in the direction that improves.

That takes about ten scores where all combinations would take a hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

SWEEPS = 2
"""How often each setting is searched, unless a sweep changes nothing."""

S = TypeVar("S")


@dataclass(frozen=True)
class Axis(Generic[S]):
    """One setting.

    Attributes:
        grid: Its values, ascending or descending.
        with_value: Puts a value into settings.
    """

    grid: Sequence[float]
    with_value: Callable[[S, float], S]


def coordinate_search(start: S, axes: Sequence[Axis[S]], score: Callable[[S], float]) -> S:
    """Return the settings with the best score that the search comes to.

    Args:
        start: Settings whose values are on the grids.
        axes: The settings to search, in order.
        score: Scores settings; it is asked again for the same ones, so it should remember.
    """
    settings = start
    for _ in range(SWEEPS):
        before = settings
        for axis in axes:
            settings = _walk([axis.with_value(settings, value) for value in axis.grid], settings, score)
        if settings == before:
            break
    return settings


def _walk(grid: Sequence[S], settings: S, score: Callable[[S], float]) -> S:
    """Move along the grid while the score improves, upwards first."""
    here = grid.index(settings)
    for step in (1, -1):
        moved = False
        while 0 <= here + step < len(grid) and score(grid[here + step]) > score(grid[here]):
            here += step
            moved = True
        if moved:
            break
    return grid[here]
