"""One weight each for head and language model, fitted on random labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from star_al.stats.delivery import HeldOutAnswers, fit_delivery, mixed
from star_al.stats.temperature import fit_temperature
from star_al.types import FloatArray, IntArray


def answers(targets_N: IntArray, skill: float, seed: int, n_labels: int = 3) -> FloatArray:
    """Log-probabilities of a calibrated model: it sees the label through noise, more of it with less skill."""
    random = np.random.default_rng(seed)
    seen_N_C = random.normal(size=(len(targets_N), n_labels))
    seen_N_C[np.arange(len(targets_N)), targets_N] += skill
    found: FloatArray = log_softmax(skill * seen_N_C, axis=1)
    return found


def graded(n: int, head: float, adapted: float, seed: int = 0) -> HeldOutAnswers:
    targets_N: IntArray = np.random.default_rng(seed).integers(0, 3, n)
    return HeldOutAnswers(
        answers(targets_N, head, seed + 1), answers(targets_N, adapted, seed + 2), targets_N
    )


def nll(of: HeldOutAnswers, head: float, adapted: float) -> float:
    log_p_N_C = mixed(of.head_N_C, of.adapted_N_C, head, adapted)
    return float(-log_p_N_C[np.arange(len(of.targets_N)), of.targets_N].mean())


def test_with_many_labels_the_mix_is_the_likeliest() -> None:
    of = graded(4_000, 1.2, 1.5)
    found = fit_delivery(of)
    best = minimize(
        lambda weights: nll(of, *weights), [0.5, 0.5], method="Nelder-Mead", options={"xatol": 1e-6}
    )
    assert (found.head_weight, found.adapted_weight) == pytest.approx(tuple(best.x), abs=0.02)
    # Both are calibrated, and what they saw is independent, so that each counts in full.
    assert (found.head_weight, found.adapted_weight) == pytest.approx((1.0, 1.0), abs=0.15)


def test_the_gradient_is_that_of_the_loss() -> None:
    """A wrong gradient would end the search early, above the minimum of a search without one."""
    of = graded(60, 0.9, 1.1, seed=11)
    head_t, adapted_t = (fit_temperature(each, of.targets_N).value for each in (of.head_N_C, of.adapted_N_C))

    def loss(at: FloatArray) -> float:
        share, log_t = at
        n = len(of.targets_N)
        head, adapted = (1 - share) / head_t / np.exp(log_t), share / adapted_t / np.exp(log_t)
        penalty = 0.5 * ((share - 0.5) / 0.25) ** 2 + 0.5 * (log_t / 0.5) ** 2
        return float(n * nll(of, head, adapted) + penalty)

    found = fit_delivery(of)
    share = found.adapted_weight * adapted_t / (found.adapted_weight * adapted_t + found.head_weight * head_t)
    log_t = -np.log(found.adapted_weight * adapted_t + found.head_weight * head_t)
    best = minimize(loss, [0.5, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
    assert (share, log_t) == pytest.approx(tuple(best.x), abs=1e-4)


def test_without_labels_both_count_the_same() -> None:
    none = HeldOutAnswers(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    found = fit_delivery(none)
    assert found.head_weight == found.adapted_weight == 0.5
    assert "no calibration labels" in found.note


def test_a_noisy_copy_of_the_other_model_is_left_out() -> None:
    of = graded(2_000, 2.0, 0.0)
    noise_N_C = np.random.default_rng(9).normal(scale=2.0, size=of.head_N_C.shape)
    noisy_N_C: FloatArray = log_softmax(of.head_N_C + noise_N_C, axis=1)
    found = fit_delivery(HeldOutAnswers(of.head_N_C, noisy_N_C, of.targets_N))
    assert found.adapted_weight == 0.0
    assert found.head_weight == pytest.approx(1 / fit_temperature(of.head_N_C, of.targets_N).value)
    turned = fit_delivery(HeldOutAnswers(noisy_N_C, of.head_N_C, of.targets_N))
    assert turned.head_weight == 0.0
    assert turned.adapted_weight == pytest.approx(found.head_weight)


@pytest.mark.parametrize(("head", "adapted"), [(2.5, 1.0), (1.0, 2.5), (2.0, 1.8)])
def test_thirty_labels_keep_the_mix_within_a_point_of_the_better_model(head: float, adapted: float) -> None:
    gaps = []
    for seed in range(40):
        calibration, test = graded(30, head, adapted, seed), graded(2_000, head, adapted, 1_000 + seed)
        found = fit_delivery(calibration)
        both = mixed(test.head_N_C, test.adapted_N_C, found.head_weight, found.adapted_weight)
        accuracy = [
            float((each.argmax(axis=1) == test.targets_N).mean())
            for each in (both, test.head_N_C, test.adapted_N_C)
        ]
        gaps.append(accuracy[0] - max(accuracy[1:]))
    assert np.mean(gaps) > 0.0 and np.quantile(gaps, 0.05) > -0.01


def test_a_model_that_is_often_right_but_never_sure_is_not_spoilt_by_one_that_is_seldom_right() -> None:
    rows = np.arange(20)
    targets_N = rows % 3
    flat, sure = np.zeros((20, 3)), np.zeros((20, 3))
    flat[rows, (targets_N + (rows >= 18)) % 3] = 0.02
    sure[rows, (targets_N + (rows >= 10)) % 3] = 1.0
    of = HeldOutAnswers(log_softmax(flat, axis=1), log_softmax(sure, axis=1), targets_N)
    assert (mixed(of.head_N_C, of.adapted_N_C, 10.0, 1.0).argmax(axis=1) == targets_N).sum() == 10
    assert fit_delivery(of).adapted_weight == 0.0
    assert fit_delivery(HeldOutAnswers(of.adapted_N_C, of.head_N_C, targets_N)).head_weight == 0.0


def test_padding_stays_and_no_model_rules_a_label_out() -> None:
    head, adapted = np.array([[-0.7, -0.7, -np.inf]]), np.array([[-1e6, 0.0, -np.inf]])
    found = mixed(head, adapted, 0.5, 0.5)
    assert np.isneginf(found[0, 2]) and np.isfinite(found[0, :2]).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)
