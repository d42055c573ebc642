"""Early stopping of samples on held-out texts keeps the figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from star_al.acquire.measures import predictive_mean_log
from star_al.stats.metrics import evaluate
from star_al.steps.sampled_means import sampled_means
from star_al.types import FloatArray, Item, Role

K = 16


def samples(n: int, spread: float, seed: int) -> FloatArray:
    """Log-probabilities (n, K, 4) of a model that is sure of most texts, with logits that differ by sample."""
    random = np.random.default_rng(seed)
    logits_N_1_C = random.normal(size=(n, 1, 4)) * random.exponential(4.0, size=(n, 1, 1))
    logits_N_K_C = logits_N_1_C + spread * random.normal(size=(n, K, 4))
    log_probs_N_K_C: FloatArray = logits_N_K_C - np.logaddexp.reduce(logits_N_K_C, axis=2, keepdims=True)
    return log_probs_N_K_C


def run(log_probs_N_K_C: FloatArray) -> tuple[FloatArray, float]:
    """Means with early stopping, and the share of the passes that they took."""
    items, passes = [Item(str(row), "") for row in range(len(log_probs_N_K_C))], 0

    def predict(some: Sequence[Item], stage: range) -> FloatArray:
        nonlocal passes
        passes += len(some) * len(stage)
        return log_probs_N_K_C[[int(item.item_id) for item in some]][:, stage.start : stage.stop]

    return sampled_means(items, range(K), predict), passes / (len(items) * K)


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_all_samples_to_a_thousandth_with_fewer_passes(seed: int) -> None:
    log_probs_N_K_C = samples(300, 0.1, seed)
    means_N_C, share = run(log_probs_N_K_C)
    full_N_C = predictive_mean_log(log_probs_N_K_C)
    random = np.random.default_rng(seed)
    targets_N = np.array([random.choice(4, p=np.exp(row) / np.exp(row).sum()) for row in full_N_C])
    names = ("a", "b", "c", "d")
    some, every = (
        evaluate(each, targets_N, names, model="adapted", scaling="raw", split=Role.TEST, temperature=1.0)
        for each in (means_N_C, full_N_C)
    )
    for figure in ("accuracy", "nll", "brier"):
        assert getattr(some, figure) == pytest.approx(getattr(every, figure), abs=1e-3)
    assert 3 / K < share < 0.8


def test_samples_that_agree_are_few_and_samples_that_differ_are_all() -> None:
    agreeing = np.repeat(samples(50, 0.0, 0)[:, :1], K, axis=1)
    means_N_C, share = run(agreeing)
    assert share == 3 / K
    np.testing.assert_allclose(means_N_C, agreeing[:, 0])
    assert run(samples(50, 3.0, 0))[1] > 0.95


def test_items_with_fewer_options_than_those_that_stopped_are_padded() -> None:
    wide = samples(2, 0.0, 1)
    narrow = samples(2, 3.0, 2)[:, :, :3]
    narrow = narrow - np.logaddexp.reduce(narrow, axis=2, keepdims=True)
    table = np.concatenate([wide, np.pad(narrow, ((0, 0), (0, 0), (0, 1)), constant_values=-np.inf)])

    def predict(some: Sequence[Item], stage: range) -> FloatArray:
        found = table[[int(item.item_id) for item in some]][:, stage.start : stage.stop]
        widest = int(np.isfinite(found).any(axis=(0, 1)).sum())
        return found[:, :, :widest]

    means_N_C = sampled_means([Item(str(row), "") for row in range(4)], range(K), predict)
    np.testing.assert_allclose(means_N_C, predictive_mean_log(table))
