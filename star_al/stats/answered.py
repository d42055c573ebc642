"""Answers that models gave to items beside what people said, where answers are open, and figures about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from star_al.types import FloatArray, Item, JsonValue


@dataclass(frozen=True)
class Answered:
    """N items with a model's answers.

    Attributes:
        items: The items.
        answers: What the model said; None where nothing could be found in it.
        golds: What people said.
        grades_N: How right the answers are, from 0 to 1.
        right_N: True if an answer counts as right.
        confidence_N: The probability of the answer.
        label_names: The labels of the task, if answers are lists of them.
    """

    items: Sequence[Item]
    answers: Sequence[JsonValue]
    golds: Sequence[JsonValue]
    grades_N: FloatArray
    right_N: NDArray[np.bool_]
    confidence_N: FloatArray
    label_names: tuple[str, ...] = ()


def mean_grade(answered: Answered) -> float | None:
    """Return the mean grade; None if all grades are 0 or 1, since it is the accuracy then."""
    grades_N = answered.grades_N
    return None if np.isin(grades_N, (0.0, 1.0)).all() else float(grades_N.mean())


def auroc_of_right(answered: Answered) -> float | None:
    """Return how often a right answer has more confidence than a wrong one, ties counting half; None without both."""
    right_M, wrong_M = (
        np.sort(answered.confidence_N[mask_N]) for mask_N in (answered.right_N, ~answered.right_N)
    )
    if not (len(right_M) and len(wrong_M)):
        return None
    below = np.searchsorted(wrong_M, right_M, side="left") + np.searchsorted(wrong_M, right_M, side="right")
    return float(below.sum() / (2 * len(right_M) * len(wrong_M)))


def aurc(answered: Answered) -> float:
    """Return the area under the risk-coverage curve: the mean, over n, of the errors among the n most confident.

    Answers of one confidence count by their mean error, so that their order does not matter (Geifman et al. 2019).
    """
    order_N = np.argsort(-answered.confidence_N, kind="stable")
    confidence_N, errors_N = answered.confidence_N[order_N], (~answered.right_N[order_N]).astype(np.float64)
    _, group_N = np.unique(-confidence_N, return_inverse=True)
    means_G = np.bincount(group_N, weights=errors_N) / np.bincount(group_N)
    risks_N = np.cumsum(means_G[group_N]) / np.arange(1, len(errors_N) + 1)
    return float(risks_N.mean())


def share_without_answer(answered: Answered) -> float:
    """Return the share of items in whose answer nothing could be found."""
    return sum(answer is None for answer in answered.answers) / len(answered.answers)
