"""Temperature and contextual calibration agree with a grid search, closed forms and their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from star_al.stats.temperature import (
    _penalised_nll,
    apply_temperature,
    contextual_calibration,
    fit_temperature,
)
from star_al.types import FloatArray, IntArray


def sampled(seed: int, n: int, true_temperature: float) -> tuple[FloatArray, IntArray]:
    """Return ragged three-label predictions, overconfident by ``true_temperature``, and matching labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3.0, size=(n, 3))
    logits[::4, 2] = -np.inf
    probs = softmax(logits / true_temperature, axis=1)
    targets = np.array([rng.choice(3, p=row) for row in probs])
    return np.asarray(log_softmax(logits, axis=1)), targets


def test_the_fit_is_the_minimum_of_a_fine_grid_search() -> None:
    log_probs, targets = sampled(seed=1, n=60, true_temperature=2.0)
    grid = np.linspace(-2, 3, 20_001)
    losses = [_naive_loss(log_temperature, log_probs, targets) for log_temperature in grid]
    assert np.log(fit_temperature(log_probs, targets).value) == pytest.approx(
        grid[np.argmin(losses)], abs=5e-4
    )


def _naive_loss(log_temperature: float, log_probs: FloatArray, targets: IntArray) -> float:
    probs = softmax(log_probs / np.exp(log_temperature), axis=1)
    return float(-np.log(probs[np.arange(len(targets)), targets]).sum() + (log_temperature / 0.5) ** 2 / 2)


@pytest.mark.parametrize("log_temperature", [-1.0, 0.0, 0.7, 2.0])
def test_the_gradient_is_that_of_finite_differences(log_temperature: float) -> None:
    log_probs, targets = sampled(seed=2, n=40, true_temperature=1.5)
    low, high = (_naive_loss(log_temperature + step, log_probs, targets) for step in (-1e-5, 1e-5))
    loss, gradient = _penalised_nll(np.array([log_temperature]), log_probs, targets)
    assert loss == pytest.approx(_naive_loss(log_temperature, log_probs, targets))
    assert gradient == pytest.approx([(high - low) / 2e-5], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_many_labels_recover_the_temperature_so_the_prior_vanishes(true_temperature: float) -> None:
    log_probs, targets = sampled(seed=3, n=4000, true_temperature=true_temperature)
    assert fit_temperature(log_probs, targets).value == pytest.approx(true_temperature, rel=0.08)


@pytest.mark.parametrize("n", [1, 30, 500])
def test_the_prior_keeps_the_temperature_away_from_zero_when_all_labels_are_right(n: int) -> None:
    # Without it T = 0 is optimal: every prediction becomes certain.
    log_probs = np.log(np.tile([0.6, 0.4], (n, 1)))
    temperature = fit_temperature(log_probs, np.zeros(n, dtype=np.int64)).value
    assert 0.03 < temperature < 1.0


def test_without_labels_the_temperature_is_one_and_says_why() -> None:
    temperature = fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    assert (temperature.value, temperature.n) == (1.0, 0)
    assert "no calibration labels" in temperature.note
    assert fit_temperature(np.log([[0.6, 0.4]]), np.array([1])).n == 1


def test_a_fit_on_labels_of_probability_zero_or_of_another_number_is_refused() -> None:
    log_probs = np.array([[0.0, -np.inf]])
    with pytest.raises(ValueError, match="probability 0"):
        fit_temperature(log_probs, np.array([1]))
    with pytest.raises(ValueError, match="for 2 targets"):
        fit_temperature(log_probs, np.array([0, 0]))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 7.0])
def test_a_temperature_keeps_order_padding_and_normalisation(temperature: float) -> None:
    log_probs, _ = sampled(seed=4, n=20, true_temperature=1.0)
    scaled = apply_temperature(log_probs, temperature)
    np.testing.assert_allclose(np.exp(scaled).sum(axis=1), 1.0)
    assert (np.isneginf(scaled) == np.isneginf(log_probs)).all()
    assert (scaled.argsort(axis=1) == log_probs.argsort(axis=1)).all()
    expected = softmax(log_probs / temperature, axis=1)
    np.testing.assert_allclose(np.exp(scaled), expected, atol=1e-12)


def test_temperature_one_changes_nothing_and_others_move_confidence_the_right_way() -> None:
    log_probs = np.log([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(apply_temperature(log_probs, 1.0), log_probs)
    assert apply_temperature(log_probs, 2.0).max() < log_probs.max() < apply_temperature(log_probs, 0.5).max()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="not a positive number"):
        apply_temperature(np.log([[0.5, 0.5]]), temperature)


def test_contextual_calibration_divides_by_the_prior_and_keeps_padding() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log([[0.6, 0.3, 0.1], [0.5, 0.5, 0.0]])
        log_prior = np.log([[0.6, 0.2, 0.2], [0.8, 0.2, 0.0]])
    expected = [[1.0 / 3.0, 1.5 / 3.0, 0.5 / 3.0], [0.2, 0.8, 0.0]]
    np.testing.assert_allclose(np.exp(contextual_calibration(log_probs, log_prior)), expected)


def test_an_item_like_the_content_free_input_becomes_flat() -> None:
    log_prior = np.log([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(np.exp(contextual_calibration(log_prior, log_prior)), 1 / 3)


def test_a_prior_of_probability_zero_for_a_label_of_the_item_is_refused() -> None:
    with pytest.raises(ValueError, match="prior gives probability 0"):
        contextual_calibration(np.log([[0.5, 0.5]]), np.array([[0.0, -np.inf]]))
