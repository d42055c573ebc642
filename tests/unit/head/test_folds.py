from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from star_al.head.folds import CrossValidation, Settings, deal_folds, n_folds
from star_al.head.ridge import Penalty, RidgeProblem
from star_al.head.selection import default_settings, log_prior, select_settings
from star_al.types import FloatArray, IntArray


def test_each_of_few_texts_is_a_fold_and_many_share_three() -> None:
    assert [n_folds(n) for n in (2, 20, 21, 150, 151, 400, 401)] == [2, 20, 10, 10, 5, 5, 3]


def test_folds_are_even_and_spread_each_label() -> None:
    targets_n = np.repeat(np.arange(3), [200, 150, 100])
    fold_n = deal_folds(np.arange(450), targets_n, seed=0)
    for label in range(3):
        counts = np.bincount(fold_n[targets_n == label], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_repeats_of_a_text_stay_in_one_fold() -> None:
    rows_n = np.array([5, 6, 5, 7, 8, 5])
    fold_n = deal_folds(rows_n, np.array([0, 1, 1, 0, 1, 0]), seed=0)
    assert len(set(fold_n[rows_n == 5])) == 1
    assert len(set(fold_n)) == 4


def test_held_out_predictions_are_those_of_fits_without_the_fold() -> None:
    generator = np.random.default_rng(0)
    features_n_d = generator.standard_normal((30, 4))
    targets_n = (features_n_d[:, :3] + generator.standard_normal((30, 3))).argmax(axis=1)
    offset_n_C = generator.standard_normal((30, 3))
    problem = RidgeProblem.of(features_n_d, targets_n, 3)
    fold_n = deal_folds(np.arange(30), targets_n, seed=0)
    settings = Settings(Penalty(0.5, 1.0), (2.0,))
    found_n_C, _ = CrossValidation(problem, (offset_n_C,), fold_n).held_out(settings)
    for fold in range(fold_n.max() + 1):
        inside = fold_n == fold
        alone = RidgeProblem.of(features_n_d[~inside], targets_n[~inside], 3)
        weights = alone.fit(settings.penalty, 2 * offset_n_C[~inside], slope=1e-8)
        logits = features_n_d[inside] @ alone.basis_r_d.T @ weights.basis_r_C + weights.bias_C
        expected = log_softmax(logits + 2 * offset_n_C[inside], axis=1)
        np.testing.assert_allclose(found_n_C[inside], expected, atol=0.2)  # folds are fitted roughly


def _validation(offset_n_C: FloatArray, targets_n: IntArray) -> CrossValidation:
    generator = np.random.default_rng(1)
    n = len(targets_n)
    problem = RidgeProblem.of(generator.standard_normal((n, 3)) / 3, targets_n, 3)
    return CrossValidation(problem, (offset_n_C,), deal_folds(np.arange(n), targets_n, seed=0))


def test_a_name_that_misleads_loses_its_weight_as_labels_come() -> None:
    targets_n = np.arange(90) % 3
    telling_n_C = 0.2 * np.eye(3)[targets_n]
    misleading_n_C = 0.2 * np.eye(3)[(targets_n + 1) % 3]
    told, misled = (
        select_settings(_validation(offset, targets_n), ("label_names",)).settings.offset_weights_J[0]
        for offset in (telling_n_C, misleading_n_C)
    )
    assert told >= 15.0
    assert misled == 0.0


def test_with_two_labels_the_prior_decides() -> None:
    chosen = select_settings(_validation(np.zeros((2, 3)), np.array([0, 1])), ("label_names",)).settings
    assert chosen.offset_weights_J == default_settings(("label_names",)).offset_weights_J
    assert abs(np.log10(chosen.penalty.strength) + 2) <= 1.0


def test_the_score_is_the_held_out_likelihood_and_the_prior() -> None:
    targets_n = np.arange(40) % 3
    selected = select_settings(_validation(np.zeros((40, 3)), targets_n), ("label_names",))
    likelihood = selected.held_out_n_C[np.arange(40), targets_n].sum()
    assert selected.score == pytest.approx(likelihood + log_prior(selected.settings, ("label_names",)))
