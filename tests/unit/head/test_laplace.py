"""Samples of the posterior against a dense Laplace approximation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from star_al.head.curvature import Curvature
from star_al.head.laplace import BLOCK, Posterior, blocks_of, jackknife_variance, logit_variance
from star_al.types import FloatArray


def _curvature(n: int = 15, q: int = 4, labels: int = 3, seed: int = 0) -> Curvature:
    generator = np.random.default_rng(seed)
    return Curvature(
        generator.standard_normal((n, q)),
        softmax(2 * generator.standard_normal((n, labels)), axis=1),
        generator.uniform(0, 2, n),
        generator.uniform(0.1, 1, q),
    )


def _dense(curvature: Curvature) -> FloatArray:
    """Λ with rows and columns (feature, label), by the definition."""
    q, labels = len(curvature.ridge_q), curvature.probs_n_C.shape[1]
    dense = np.kron(np.diag(curvature.ridge_q), np.eye(labels))
    for features_q, probs_C, weight in zip(
        curvature.design_n_q, curvature.probs_n_C, curvature.weights_n, strict=True
    ):
        fisher = np.diag(probs_C) - np.outer(probs_C, probs_C)
        dense += weight * np.kron(np.outer(features_q, features_q), fisher)
    assert dense.shape == (q * labels, q * labels)
    return np.asarray(dense, dtype=np.float64)


def test_products_and_the_diagonal_are_those_of_the_dense_matrix() -> None:
    curvature = _curvature()
    vectors_q_S_C = np.random.default_rng(1).standard_normal((4, 2, 3))
    product = curvature.times(vectors_q_S_C)
    for s in range(2):
        np.testing.assert_allclose(
            product[:, s].ravel(), _dense(curvature) @ vectors_q_S_C[:, s].ravel(), atol=1e-10
        )
    np.testing.assert_allclose(curvature.diagonal_q_C.ravel(), np.diag(_dense(curvature)), atol=1e-12)


def test_solutions_are_those_of_the_dense_matrix() -> None:
    curvature = _curvature()
    right_q_S_C = np.random.default_rng(1).standard_normal((4, 2, 3))
    solution = curvature.solve(right_q_S_C, 1e-10)
    for s in range(2):
        np.testing.assert_allclose(
            solution[:, s].ravel(), np.linalg.solve(_dense(curvature), right_q_S_C[:, s].ravel()), atol=1e-8
        )


def test_the_covariance_of_the_noise_is_the_curvature() -> None:
    """The noise is linear in standard normal numbers, so its covariance is the product of its matrix with itself."""
    curvature = _curvature(n=6)
    zero_n_C, zero_q_C = np.zeros((6, 3)), np.zeros((4, 3))
    columns = []
    for size, place in ((zero_n_C.size, 0), (zero_q_C.size, 1)):
        for unit in np.eye(size):
            parts = [zero_n_C, zero_q_C]
            parts[place] = unit.reshape(parts[place].shape)
            columns.append(curvature.noise(*parts).ravel())
    matrix = np.column_stack(columns)
    np.testing.assert_allclose(matrix @ matrix.T, _dense(curvature), atol=1e-10)


def _posterior(n: int = 8, r: int = 5, labels: int = 3) -> Posterior:
    generator = np.random.default_rng(2)
    return Posterior(
        generator.standard_normal((n, r)).astype(np.float32),
        generator.standard_normal((n, labels)),
        np.ones(n),
        0.5,
        0.8,
        1.0,
    )


@pytest.mark.parametrize("n", [0, 2, 8])
def test_samples_have_the_covariance_of_the_dense_posterior(n: int) -> None:
    """With fewer examples than features, the directions that no example spans keep the prior."""
    posterior = _posterior(n=n)
    curvature = Curvature(
        np.column_stack([posterior.examples_n_r, np.ones(n)]),
        softmax(posterior.logits_n_C, axis=1),
        posterior.weights_n,
        np.append(np.full(5, 0.5), 0.8**-2),
    )
    covariance = np.linalg.inv(_dense(curvature))
    parts = [posterior.deviations(block, seed=0) for block in range(250)]
    weights_S = np.concatenate([weights_S_r_C.reshape(BLOCK, -1) for weights_S_r_C, _ in parts])
    bias_S = np.concatenate([bias_S_C for _, bias_S_C in parts])
    samples_S = np.hstack([weights_S, bias_S])
    found = samples_S.T @ samples_S / len(samples_S)
    # The standard error of a variance from 4,000 samples is 2.2 %.
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert (np.abs(found - covariance) / scale).max() < 0.1
    assert np.abs(samples_S.mean(axis=0) / np.sqrt(np.diag(covariance))).max() < 0.1


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    posterior = _posterior()
    first, again, other = (posterior.deviations(1, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.allclose(first[0], other[0])


def test_the_variance_of_logits_ignores_shifts_and_labels_out_of_the_question() -> None:
    probs_N_C = np.array([[0.5, 0.5, 0.0]])
    plain = np.array([[[1.0, -1.0, 0.0]], [[-1.0, 1.0, 0.0]]])
    assert logit_variance(plain, probs_N_C) == pytest.approx(1.0)
    shifted = plain + np.array([5.0, -5.0])[:, None, None]
    shifted[:, :, 2] += np.array([100.0, -100.0])[:, None]
    assert logit_variance(shifted, probs_N_C) == pytest.approx(1.0)


def test_the_jackknife_finds_the_variance_of_a_mean() -> None:
    """The mean of K numbers has the variance of the numbers ÷ K; the folds are the numbers."""
    generator = np.random.default_rng(0)
    numbers_K = generator.standard_normal(2000)
    means_K = (numbers_K.sum() - numbers_K) / 1999
    logits_K_1_C = np.stack([means_K, -means_K], axis=1)[:, None] / 2
    found = jackknife_variance(logits_K_1_C, np.array([[0.5, 0.5]]))
    assert found == pytest.approx(numbers_K.var() / 2000 / 4, rel=0.01)


def test_draws_are_found_in_their_blocks() -> None:
    found = [(block, int(place)) for block, places in blocks_of(range(14, 18)) for place in places]
    assert found == [(0, 14), (0, 15), (1, 0), (1, 1)]
