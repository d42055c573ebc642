"""Sort answers into groups that count as one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def grouped(values: Sequence[T], are_one: Callable[[T, T], bool]) -> list[list[int]]:
    """Return groups of positions: values that are one, directly or by way of others, are in one group.

    So the groups do not depend on the values' order, although likeness is not transitive. They come in the order of
    their first values.
    """
    groups: list[list[int]] = []
    for position, value in enumerate(values):
        touched = [group for group in groups if any(are_one(values[other], value) for other in group)]
        joined = sorted([position, *(member for group in touched for member in group)])
        groups = [*(group for group in groups if group not in touched), joined]
    return sorted(groups)
