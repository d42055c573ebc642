"""Fits of the ridge against scikit-learn, a general optimiser, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from star_al.head.ridge import Penalty, RidgeProblem, Weights
from star_al.types import FloatArray, IntArray


def _data(n: int = 60, d: int = 5, labels: int = 3, seed: int = 0) -> tuple[FloatArray, IntArray, FloatArray]:
    generator = np.random.default_rng(seed)
    features_n_d = generator.standard_normal((n, d))
    targets_n = (features_n_d[:, :labels] + generator.standard_normal((n, labels))).argmax(axis=1)
    return features_n_d, targets_n, generator.standard_normal((n, labels))


def _logits(problem: RidgeProblem, weights: Weights, features_n_d: FloatArray) -> FloatArray:
    return features_n_d @ problem.basis_r_d.T @ weights.basis_r_C + weights.bias_C


def _loss(
    flat: FloatArray, features_n_d: FloatArray, targets_n: IntArray, offsets_n_C: FloatArray, penalty: Penalty
) -> float:
    d, labels = features_n_d.shape[1], offsets_n_C.shape[1]
    weights_d_C, bias_C = flat[: d * labels].reshape(d, labels), flat[d * labels :]
    log_probs = log_softmax(features_n_d @ weights_d_C + bias_C + offsets_n_C, axis=1)
    fit = -log_probs[np.arange(len(targets_n)), targets_n].sum()
    return float(
        fit + 0.5 * penalty.strength * (weights_d_C**2).sum() + 0.5 * (bias_C**2).sum() / penalty.bias_sd**2
    )


@pytest.mark.parametrize("strength", [0.03, 1.0, 30.0])
def test_without_offsets_it_agrees_with_scikit_learn(strength: float) -> None:
    features_n_d, targets_n, _ = _data()
    problem = RidgeProblem.of(features_n_d, targets_n, 3)
    # scikit-learn leaves the biases free: an almost flat prior does, too.
    found = problem.fit(Penalty(strength, 1e4), None, slope=1e-8)
    reference = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(features_n_d, targets_n)
    np.testing.assert_allclose(
        softmax(_logits(problem, found, features_n_d), axis=1),
        reference.predict_proba(features_n_d),
        atol=1e-5,
    )


def test_with_offsets_it_minimises_the_penalised_loss() -> None:
    features_n_d, targets_n, offsets_n_C = _data()
    penalty = Penalty(0.5, 0.7)
    problem = RidgeProblem.of(features_n_d, targets_n, 3)
    found = problem.fit(penalty, offsets_n_C, slope=1e-8)
    reference = minimize(
        _loss, np.zeros(18), args=(features_n_d, targets_n, offsets_n_C, penalty), options={"gtol": 1e-9}
    )
    np.testing.assert_allclose(
        problem.basis_r_d.T @ found.basis_r_C, reference.x[:15].reshape(5, 3), atol=1e-4
    )
    np.testing.assert_allclose(found.bias_C, reference.x[15:], atol=1e-4)


def test_more_features_than_examples_give_the_same_fit_as_their_inner_products() -> None:
    generator = np.random.default_rng(1)
    features_n_d, targets_n = generator.standard_normal((12, 40)), np.arange(12) % 3
    rotation = np.linalg.qr(generator.standard_normal((40, 40)))[0]
    plain, rotated = (RidgeProblem.of(each, targets_n, 3) for each in (features_n_d, features_n_d @ rotation))
    assert plain.coordinates_n_r.shape == (12, 12)
    penalty = Penalty(0.1, 1.0)
    np.testing.assert_allclose(
        _logits(plain, plain.fit(penalty, None, slope=1e-8), features_n_d),
        _logits(rotated, rotated.fit(penalty, None, slope=1e-8), features_n_d @ rotation),
        atol=1e-6,
    )


def test_a_weight_of_two_counts_an_example_twice() -> None:
    features_n_d, targets_n, offsets_n_C = _data(n=20)
    twice = np.append(np.arange(20), [3, 3])
    weights_n = np.ones(20)
    weights_n[3] = 3
    penalty = Penalty(0.2, 1.0)
    weighted = RidgeProblem.of(features_n_d, targets_n, 3, weights_n)
    repeated = RidgeProblem.of(features_n_d[twice], targets_n[twice], 3)
    np.testing.assert_allclose(
        _logits(weighted, weighted.fit(penalty, offsets_n_C, slope=1e-8), features_n_d),
        _logits(repeated, repeated.fit(penalty, offsets_n_C[twice], slope=1e-8), features_n_d),
        atol=1e-6,
    )


def test_a_fit_on_some_rows_ignores_the_others() -> None:
    features_n_d, targets_n, offsets_n_C = _data()
    rows = np.arange(0, 60, 2)
    penalty = Penalty(0.2, 1.0)
    whole = RidgeProblem.of(features_n_d, targets_n, 3)
    alone = RidgeProblem.of(features_n_d[rows], targets_n[rows], 3)
    np.testing.assert_allclose(
        _logits(whole, whole.fit(penalty, offsets_n_C, rows=rows, slope=1e-8), features_n_d),
        _logits(alone, alone.fit(penalty, offsets_n_C[rows], slope=1e-8), features_n_d),
        atol=1e-6,
    )


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    features_n_d, targets_n, offsets_n_C = _data()
    problem = RidgeProblem.of(features_n_d, targets_n, 3)
    start = problem.fit(Penalty(10.0, 0.1), None)
    warm, cold = (
        problem.fit(Penalty(0.01, 3.0), offsets_n_C, start=each, slope=1e-8) for each in (start, None)
    )
    np.testing.assert_allclose(warm.basis_r_C, cold.basis_r_C, atol=1e-5)


def test_a_label_without_examples_keeps_the_probability_of_its_offset_where_nothing_was_learnt() -> None:
    features_n_d, targets_n, _ = _data()
    offsets_n_C = np.zeros((60, 4))
    offsets_n_C[:, 3] = 1.0
    problem = RidgeProblem.of(features_n_d, targets_n, 4)
    weights = problem.fit(Penalty(1e6, 1e-3), offsets_n_C)
    expected = softmax(offsets_n_C, axis=1)
    np.testing.assert_allclose(
        softmax(problem.logits(weights, offsets_n_C, np.arange(60)), axis=1), expected, atol=1e-3
    )


def test_separable_labels_and_a_weak_penalty_still_converge() -> None:
    features_n_d = np.repeat([[-1.0, 0.0], [1.0, 0.0]], 20, axis=0)
    targets_n = np.repeat([0, 1], 20)
    problem = RidgeProblem.of(features_n_d, targets_n, 2)
    weights = problem.fit(Penalty(1e-4, 1.0), None)
    probs = softmax(_logits(problem, weights, features_n_d), axis=1)
    assert np.isfinite(probs).all()
    assert probs[np.arange(40), targets_n].min() > 0.99
