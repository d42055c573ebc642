"""What a head for multiple choice reads: features of pairs of a question and one of its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_al.head.inputs import ZERO_SHOT
from star_al.types import Float32Array, FloatArray, IntArray

SIMILARITY = "similarity"
"""Offset: cosine similarity of question and option."""


@dataclass(frozen=True)
class ChoiceTexts:
    """What the head reads of N questions with R options in all; the options of a question follow each other.

    Attributes:
        counts_N: How many options each question has.
        features: By kind, ``encoder`` (R, d) and ``model`` (R, d′); either may be absent.
        offsets: By name, (R,): ``SIMILARITY``, and ``ZERO_SHOT``, the language model's log-probability.
    """

    counts_N: IntArray
    features: Mapping[str, Float32Array]
    offsets: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = {len(each) for each in self.features.values()} | {len(each) for each in self.offsets.values()}
        if not self.features or rows != {int(self.counts_N.sum())}:
            raise ValueError(f"features of {sorted(rows)} options for questions with {self.counts_N.sum()}")
        if len(self.counts_N) and self.counts_N.min() < 1:
            raise ValueError("a question has no option")
        if unknown := set(self.features) - {"encoder", "model"}:
            raise ValueError(f"no such features: {sorted(unknown)}")
        if unknown := set(self.offsets) - {SIMILARITY, ZERO_SHOT}:
            raise ValueError(f"no such offsets: {sorted(unknown)}")

    def __len__(self) -> int:
        return len(self.counts_N)

    @cached_property
    def starts_N(self) -> IntArray:
        """The row of each question's first option."""
        starts_N: IntArray = np.cumsum(self.counts_N) - self.counts_N
        return starts_N

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What was computed from the features alone and is the same in each round: scalings."""
        return {}

    @property
    def present_N_C(self) -> NDArray[np.bool_]:
        """True where a question has an option."""
        most = int(self.counts_N.max(initial=1))
        present: NDArray[np.bool_] = np.arange(most) < self.counts_N[:, None]
        return present

    def some(self, questions_M: IntArray) -> ChoiceTexts:
        """Return some of the questions, in the order asked for."""
        rows = self.rows_of(questions_M)
        return ChoiceTexts(
            self.counts_N[questions_M],
            {name: values[rows] for name, values in self.features.items()},
            {name: values[rows] for name, values in self.offsets.items()},
        )

    def rows_of(self, questions_M: IntArray) -> IntArray:
        """Return the rows of the options of some questions, question after question."""
        counts_M = self.counts_N[questions_M]
        first_M = np.cumsum(counts_M) - counts_M
        rows: IntArray = np.repeat(self.starts_N[questions_M] - first_M, counts_M) + np.arange(counts_M.sum())
        return rows


def by_question(values_R: FloatArray, present_N_C: NDArray[np.bool_], fill: float) -> FloatArray:
    """Arrange values of options, (R,) or (R, r), in a row for each question: (N, C) or (N, C, r).

    Args:
        values_R: Values.
        present_N_C: True where a question has an option.
        fill: Stands where it has none.
    """
    arranged = np.full((*present_N_C.shape, *values_R.shape[1:]), fill)
    arranged[present_N_C] = values_R
    return arranged
