"""The probability of a right answer agrees with a naive fit, and is left alone where there is too little to fit."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from star_al.stats.platt import FEWEST, fit_platt, right_probabilities
from star_al.types import BoolArray, FloatArray, PlattScaling


def sampled(seed: int, n: int) -> tuple[FloatArray, dict[str, FloatArray], BoolArray]:
    """Return log p̄, signals, and right answers, which are the rarer the higher the NLL."""
    rng = np.random.default_rng(seed)
    nll_N = rng.gamma(1.5, 0.4, n)
    length_N = rng.integers(3, 30, n).astype(np.float64)
    log_p_N = -nll_N - rng.uniform(0.0, 0.7, n)
    right_N = rng.random(n) < expit(1.0 - 1.5 * nll_N)
    return log_p_N, {"nll": nll_N, "length": length_N}, right_N


def test_the_fit_is_that_of_a_naive_penalised_likelihood() -> None:
    log_p_N, signals, right_N = sampled(1, 60)
    rows = [
        (nll, log(exp(log_p) / (1 - exp(log_p))), length)
        for nll, log_p, length in zip(signals["nll"], log_p_N, signals["length"], strict=True)
    ]
    standardised = [
        [(x - np.mean(column)) / np.std(column) for x in column] for column in zip(*rows, strict=True)
    ]

    def loss(weights: FloatArray) -> float:
        total = sum(w * w for w in weights[1:]) / 2
        for row, right in zip(zip(*standardised, strict=True), right_N, strict=True):
            p = expit(weights[0] + sum(w * x for w, x in zip(weights[1:], row, strict=True)))
            total -= log(p if right else 1 - p)
        return float(total)

    best = minimize(loss, np.zeros(4), tol=1e-10).x
    expected = expit(best[0] + np.array(standardised).T @ best[1:])
    platt, note = fit_platt(log_p_N, signals, right_N)
    assert platt is not None and "fitted on 60 graded answers" in note
    np.testing.assert_allclose(right_probabilities(platt, log_p_N, signals), expected, atol=1e-5)
    assert expected.mean() == pytest.approx(right_N.mean(), abs=1e-4)  # the intercept has no prior


def test_many_labels_recover_the_true_probabilities() -> None:
    platt, _ = fit_platt(*sampled(2, 20_000))
    log_p_N, signals, _ = sampled(3, 500)
    assert platt is not None
    true_N = expit(1.0 - 1.5 * signals["nll"])
    assert np.abs(right_probabilities(platt, log_p_N, signals) - true_N).max() < 0.05


def test_the_scale_of_a_feature_does_not_matter() -> None:
    log_p_N, signals, right_N = sampled(4, 50)
    longer = {**signals, "length": 1000.0 * signals["length"] + 5.0}
    first, second = fit_platt(log_p_N, signals, right_N)[0], fit_platt(log_p_N, longer, right_N)[0]
    assert first is not None and second is not None
    np.testing.assert_allclose(
        right_probabilities(second, log_p_N, longer), right_probabilities(first, log_p_N, signals), atol=1e-6
    )


def test_certain_and_impossible_answers_and_constant_features_stay_finite() -> None:
    log_p_N, signals, right_N = sampled(5, 40)
    log_p_N[:2] = 0.0, -np.inf
    same = {"nll": signals["nll"], "length": np.full(40, 7.0)}
    platt, _ = fit_platt(log_p_N, same, right_N)
    assert platt is not None
    found_N = right_probabilities(platt, log_p_N, same)
    assert ((found_N > 0) & (found_N < 1)).all()


@pytest.mark.parametrize(
    ("rights", "wrongs"), [(FEWEST, 0), (0, FEWEST), (FEWEST, 2), (2, FEWEST), (FEWEST - 4, 3)]
)
def test_too_few_labels_or_nearly_one_class_are_not_fitted_and_why_is_told(rights: int, wrongs: int) -> None:
    n = rights + wrongs
    right_N = np.arange(n) < rights
    platt, note = fit_platt(np.full(n, -0.5), {"nll": np.arange(n) / n, "length": np.ones(n)}, right_N)
    assert platt is None
    assert f"there are {rights} right and {wrongs} wrong" in note and f"takes {FEWEST} graded answers" in note


def test_a_model_that_tells_nothing_but_probabilities_is_not_fitted() -> None:
    platt, note = fit_platt(np.full(30, -0.5), {}, np.arange(30) < 15)
    assert platt is None and "scaled probability" in note


def test_the_weights_are_those_of_the_features_as_they_are() -> None:
    platt = PlattScaling(intercept=0.5, nll=-1.0, log_odds=2.0, length=0.25)
    signals = {"nll": np.array([0.4]), "length": np.array([8.0])}
    expected = 0.5 - 0.4 + 2.0 * logit(0.7) + 2.0
    assert right_probabilities(platt, np.log([0.7]), signals) == pytest.approx(expit(expected))
