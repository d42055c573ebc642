"""The greedy choice of a batch whose items are chosen with a view to each other.

The M candidates are the top of a ranking, best first, so that position is rank and the first of equals is the
better ranked one. A rule says which candidate it wants next, given those chosen so far. Constraints
narrow what it may choose from, and are ignored where they would leave nothing. Each choice depends only on
the choices before it, so a batch begins with every smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from star_al.types import FloatArray

BoolArray: TypeAlias = NDArray[np.bool_]


class GreedyRule(Protocol):
    """A greedy rule for batches: says which candidate is worth most next."""

    def pick(self, allowed_M: BoolArray) -> int:
        """Return the position of an allowed candidate, of which there is at least one."""

    def add(self, position: int) -> None:
        """Take note that this candidate was chosen."""


class Constraint(Protocol):
    """Says which candidates should not be chosen next."""

    @property
    def note_if_ignored(self) -> str:
        """What to note for an item that was chosen against the constraint, because no other was left."""

    def prefers(self, allowed_M: BoolArray) -> BoolArray:
        """Return which candidates satisfy the constraint, (M,), if one of the allowed ones must be chosen."""

    def add(self, position: int) -> None:
        """Take note that this candidate was chosen."""


class Pick(NamedTuple):
    """A chosen candidate, and the notes of the constraints that were ignored for it."""

    position: int
    notes: tuple[str, ...] = ()


class InOrder:
    """Takes the best ranked first; implements ``GreedyRule``."""

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        return int(allowed_M.argmax())

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""


def greedy_batch(
    rule: GreedyRule,
    constraints: Sequence[Constraint],
    n: int,
    k: int,
    *,
    allowed_M: BoolArray | None = None,
) -> list[Pick]:
    """Choose ``k`` of ``n`` candidates, or all of them if they are fewer.

    Args:
        rule: Picks candidates.
        constraints: Narrow the choice; earlier ones take precedence over later ones.
        n: Number of candidates.
        k: Size of the batch.
        allowed_M: Which candidates may be chosen; None for all.

    Returns:
        The chosen candidates, in the order of their choice.

    Raises:
        ValueError: ``k`` is negative.
    """
    if k < 0:
        raise ValueError(f"a batch of {k} items")
    left_M = np.ones(n, dtype=bool) if allowed_M is None else allowed_M.copy()
    picks = []
    for _ in range(min(k, np.count_nonzero(left_M))):
        allowed_M, notes = _narrowed(left_M, constraints)
        position = rule.pick(allowed_M)
        picks.append(Pick(position, notes))
        left_M[position] = False
        rule.add(position)
        for constraint in constraints:
            constraint.add(position)
    return picks


def _narrowed(left_M: BoolArray, constraints: Sequence[Constraint]) -> tuple[BoolArray, tuple[str, ...]]:
    """Return the candidates that satisfy all constraints, and notes of those that would leave nothing."""
    allowed_M, notes = left_M, []
    for constraint in constraints:
        preferred_M = allowed_M & constraint.prefers(allowed_M)
        if preferred_M.any():
            allowed_M = preferred_M
        else:  # only this constraint is ignored: what earlier ones excluded stays excluded
            notes.append(constraint.note_if_ignored)
    return allowed_M, tuple(notes)


def first_best(gains_M: FloatArray, allowed_M: BoolArray, tolerance: float = 0.0) -> int:
    """Return the best ranked of the allowed candidates whose gain is within ``tolerance`` of the highest.

    Args:
        gains_M: What each candidate would add, best ranked first.
        allowed_M: Which candidates may be chosen; at least one.
        tolerance: Gains that differ by no more than this count as equal.

    Raises:
        ValueError: A gain is NaN.
    """
    if np.isnan(gains_M).any():
        raise ValueError(f"{np.count_nonzero(np.isnan(gains_M))} of {len(gains_M)} gains are NaN")
    masked_M = np.where(allowed_M, gains_M, -np.inf)
    return int((allowed_M & (masked_M >= masked_M.max() - tolerance)).argmax())
