"""Label bias: batch calibration and the correction by labels, against naive references and known biases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from star_al.stats.label_bias import BIAS_VARIANCE, batch_bias, fit_bias, without_bias
from star_al.types import FloatArray


def predictions(n: int, n_labels: int = 4, seed: int = 0) -> FloatArray:
    random = np.random.default_rng(seed)
    return np.asarray(log_softmax(2.0 * random.normal(size=(n, n_labels)), axis=1))


def test_batch_calibration_divides_by_the_mean_over_the_pool() -> None:
    log_probs_N_C = predictions(30)
    calibrated_N_C = without_bias(log_probs_N_C, batch_bias(log_probs_N_C))
    for row_C, found_C in zip(log_probs_N_C, calibrated_N_C, strict=True):
        ratios = [np.exp(row_C[c]) / np.mean([np.exp(each[c]) for each in log_probs_N_C]) for c in range(4)]
        np.testing.assert_allclose(np.exp(found_C), np.array(ratios) / sum(ratios))


def test_a_bias_for_one_label_is_taken_out() -> None:
    fair_N_C = predictions(4000)
    biased_N_C = log_softmax(fair_N_C + np.array([3.0, 0.0, 0.0, -1.0]), axis=1)
    found_N_C = without_bias(biased_N_C, batch_bias(biased_N_C))
    before, after = (
        float((each_N_C.argmax(axis=1) == fair_N_C.argmax(axis=1)).mean())
        for each_N_C in (biased_N_C, found_N_C)
    )
    assert before < 0.6 and after > 0.75


def test_the_fitted_bias_is_that_of_the_naive_objective() -> None:
    log_probs_N_C, prior_C = predictions(25), np.array([0.5, -0.5, 0.0, 1.0])
    targets_N = np.random.default_rng(1).integers(4, size=25)

    def naive(bias_C: FloatArray) -> float:
        loss = sum((b - m) ** 2 for b, m in zip(bias_C, prior_C, strict=True)) / (2.0 * BIAS_VARIANCE)
        for row_C, target in zip(log_probs_N_C, targets_N, strict=True):
            weights = [np.exp(value + b) for value, b in zip(row_C, bias_C, strict=True)]
            loss -= np.log(weights[target] / sum(weights))
        return float(loss)

    expected_C = minimize(naive, np.zeros(4), method="BFGS").x
    np.testing.assert_allclose(fit_bias(log_probs_N_C, targets_N, prior_C), expected_C, atol=1e-4)


def test_labels_correct_what_the_pool_alone_gets_wrong() -> None:
    """In an unbalanced pool batch calibration makes the rare label frequent; labels make it rare again."""
    random = np.random.default_rng(0)
    rare_N = random.random(3000) < 0.1
    true_N_C = log_softmax(
        np.column_stack([np.where(rare_N, -1.5, 1.5), np.zeros(3000)]) + random.normal(size=(3000, 2)), axis=1
    )
    prior_C, targets_N = batch_bias(true_N_C), rare_N.astype(np.int64)
    accuracy = [
        (without_bias(true_N_C, bias_C).argmax(axis=1) == targets_N).mean()
        for bias_C in (prior_C, fit_bias(true_N_C[:200], targets_N[:200], prior_C))
    ]
    assert accuracy[1] > accuracy[0] + 0.05


def test_labels_that_a_text_does_not_have_stay_out() -> None:
    with np.errstate(divide="ignore"):
        log_probs_N_C = np.log(np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]))
    bias_C = batch_bias(log_probs_N_C)
    np.testing.assert_allclose(bias_C, -np.log([0.35, 0.35, 0.6]))
    found_N_C = without_bias(log_probs_N_C, bias_C)
    assert found_N_C[0, 2] == -np.inf and np.isfinite(found_N_C[1]).all()
    fitted_C = fit_bias(log_probs_N_C, np.array([0, 2]), bias_C)
    assert np.isfinite(fitted_C).all()
    np.testing.assert_allclose(np.exp(without_bias(log_probs_N_C[:, :2], bias_C)).sum(axis=1), 1.0)
    assert without_bias(np.zeros((1, 3)), np.zeros(1)).shape == (1, 3)


def test_a_label_without_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="probability 0"):
        fit_bias(np.array([[0.0, -np.inf]]), np.array([1]), np.zeros(2))


def test_no_texts_give_no_bias() -> None:
    assert batch_bias(np.zeros((0, 3))).tolist() == [0.0, 0.0, 0.0]
