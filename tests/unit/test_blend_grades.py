"""Weights of a blend in a study in memory: each batch is graded apart from the others, and older ones count less."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from blend_grades import Grades

from star_al.acquire.prequential import Graded, fit_slopes, shares

PRIOR_J = np.array([1.0, 0.0])


def test_without_answers_the_prior_decides() -> None:
    assert Grades().weights(PRIOR_J) == pytest.approx([1.0, 0.0])


def test_the_model_that_foretells_errors_gains_weight_and_the_newest_batch_counts_most() -> None:
    random = np.random.default_rng(0)
    ranks_J = [random.random((200, 2)) for _ in range(2)]
    by_base = [ranks[:, 1] > 0.5 for ranks in ranks_J]
    by_adapted = [ranks[:, 0] > 0.5 for ranks in ranks_J]
    base, mixed, other_order = Grades(), Grades(), Grades()
    for number in range(2):
        base.add(ranks_J[number], by_base[number])
        mixed.add(ranks_J[number], (by_adapted, by_base)[number][number])
        other_order.add(ranks_J[number], (by_base, by_adapted)[number][number])
    assert base.weights(PRIOR_J)[1] > 0.6
    assert mixed.weights(PRIOR_J)[1] > other_order.weights(PRIOR_J)[1]


def test_the_weights_are_those_of_the_products_regression() -> None:
    random = np.random.default_rng(1)
    grades, ranks, wrong = Grades(), random.random((30, 2)), random.random(30) < 0.4
    for rows in (slice(0, 10), slice(10, 30)):
        grades.add(ranks[rows], wrong[rows])
    groups = np.array([0] * 10 + [1] * 20)
    expected = shares(fit_slopes(Graded(ranks, wrong, groups, 1.0 - groups), PRIOR_J))
    assert grades.weights(PRIOR_J) == pytest.approx(expected)
