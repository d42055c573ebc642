"""Class balance: the label that was given least takes its turn first."""

from __future__ import annotations

from star_al.acquire.diverse import BoolArray
from star_al.types import IntArray


class Balance:
    """Implements ``Constraint``.

    ``predicted_M`` are the candidates' label columns as the model predicts them, ``counts_C`` the labels of
    each column given so far. A chosen candidate counts as one more of its predicted label.
    """

    given_way = ""  # one of the labels that are left is always the one given least

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
