"""Class balance: predicted labels that have the fewest labels so far come first."""

from __future__ import annotations

from star_al.acquire.greedy import BoolArray
from star_al.types import IntArray


class Balance:
    """Prefers candidates whose predicted label was given least; implements ``Constraint``.

    A chosen candidate counts as one more of its predicted label.

    Args:
        predicted_M: Label columns of the candidates, as the model predicts them.
        counts_C: Labels given so far in each column.
    """

    note_if_ignored = ""  # it never is: among the labels that are left, one is always the one given least

    def __init__(self, predicted_M: IntArray, counts_C: IntArray) -> None:
        self._predicted_M, self._counts_C = predicted_M, counts_C.copy()

    def prefers(self, allowed_M: BoolArray) -> BoolArray:
        """See ``Constraint.prefers``."""
        counts_M = self._counts_C[self._predicted_M]
        prefers_M: BoolArray = counts_M == counts_M[allowed_M].min()
        return prefers_M

    def add(self, position: int) -> None:
        """See ``Constraint.add``."""
        self._counts_C[self._predicted_M[position]] += 1
