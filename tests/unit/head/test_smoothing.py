from __future__ import annotations

import numpy as np
import pytest

from star_al.head.smoothing import HeldOut, Smoothing, choose_smoothing, smoothing_candidates


def _held_out(around_right: float, own_right: float, n: int = 300) -> HeldOut:
    """Binary predictions that give the true label these probabilities, with a label for the odd examples."""
    targets_n = np.arange(n) % 2
    own = np.full((n, 2), 1 - own_right)
    around = np.full((n, 20, 2), 1 - around_right, dtype=np.float32)
    own[np.arange(n), targets_n] = own_right
    around[np.arange(n), :, targets_n] = around_right
    return HeldOut(own, around, targets_n, np.ones(n))


def test_neighbours_that_know_get_a_high_weight_and_ones_that_mislead_none() -> None:
    candidates = smoothing_candidates(None, 20)
    assert choose_smoothing(_held_out(0.95, 0.6), candidates)[0].weight == 0.7
    assert choose_smoothing(_held_out(0.05, 0.6), candidates)[0].neighbours == 0


def test_smoothing_is_a_mean_of_the_own_prediction_and_the_nearest() -> None:
    held_out = _held_out(0.9, 0.6, n=2)
    held_out.around_n_k_C[:, 5:] = 0.0  # further ones must not count
    smoothed = np.exp(held_out.smoothed(Smoothing(5, 0.3)))
    np.testing.assert_allclose(smoothed[0], [0.7 * 0.6 + 0.3 * 0.9, 0.7 * 0.4 + 0.3 * 0.1], atol=1e-6)


def test_the_temperature_is_the_one_that_makes_confidence_right() -> None:
    """All predictions are 90 % sure and three quarters are right: T = log 9 / log 3 = 2."""
    n = 4000
    own = np.tile([0.9, 0.1], (n, 1))
    targets_n = (np.arange(n) % 4 == 0).astype(np.int64)
    held_out = HeldOut(own, np.zeros((n, 0, 2), dtype=np.float32), targets_n, np.ones(n))
    chosen, _ = choose_smoothing(held_out, smoothing_candidates(None, 0))
    assert chosen.temperature == pytest.approx(2.0, rel=0.02)


def test_a_given_number_is_kept_and_zero_turns_neighbours_off() -> None:
    assert {each.neighbours for each in smoothing_candidates(7, 20)} == {7}
    assert {each.neighbours for each in smoothing_candidates(0, 20)} == {0}
    assert {each.neighbours for each in smoothing_candidates(None, 3)} == {0, 3}


def test_the_default_comes_first() -> None:
    first = smoothing_candidates(None, 20)[0]
    assert (first.neighbours, first.weight) == (10, 0.5)
