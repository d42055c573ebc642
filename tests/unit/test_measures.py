"""The measures of uncertainty agree with naive loops, closed forms and their invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_al.acquire.measures import (
    MEASURES,
    bald,
    entropy_split,
    least_confidence,
    margin,
    partial_mean_log,
    predictive_entropy,
    predictive_mean_log,
)
from star_al.types import FloatArray


def random_log_probs(seed: int, n: int, k: int, c: int, *, ragged: bool = False) -> FloatArray:
    """Return (N, K, C) distributions from peaked to flat; with ``ragged``, items have between 1 and C options."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=rng.uniform(0, 6), size=(n, k, c))
    if ragged:
        options = rng.integers(1, c + 1, size=n)
        logits[np.arange(c) >= options[:, None, None].repeat(k, axis=1)] = -np.inf
    with np.errstate(divide="ignore"):
        probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
        log_probs: FloatArray = np.log(probs / probs.sum(axis=-1, keepdims=True))
    return log_probs


def naive_entropy(probs: list[float]) -> float:
    return -sum(p * math.log(p) for p in probs if p > 0)


def naive_scores(log_probs: FloatArray, name: str, *, per_option: bool) -> list[float]:
    """Compute the formulas item by item and label by label."""
    scores = []
    for item in np.exp(log_probs).tolist():
        mean = [sum(sample[c] for sample in item) / len(item) for c in range(len(item[0]))]
        first, second = sorted([*mean, 0.0], reverse=True)[:2]
        options = sum(p > 0 for p in mean)
        score = {
            "entropy": naive_entropy(mean),
            "bald": naive_entropy(mean) - sum(naive_entropy(sample) for sample in item) / len(item),
            "margin": 1 - (first - second),
            "least_confidence": 1 - first,
        }[name]
        if per_option and name in ("entropy", "bald"):
            score = score / math.log(options) if options > 1 else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("per_option", [False, True])
@pytest.mark.parametrize(("k", "c"), [(1, 1), (1, 2), (3, 5), (8, 4)])
def test_every_measure_equals_its_naive_loop_on_ragged_options(
    name: str, per_option: bool, k: int, c: int
) -> None:
    log_probs = random_log_probs(seed=7, n=30, k=k, c=c, ragged=True)
    expected = naive_scores(log_probs, name, per_option=per_option)
    scores = MEASURES[name](log_probs, per_option=per_option)
    assert scores.shape == (30,)
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_probabilities_are_averaged_before_the_log() -> None:
    log_probs = np.log([[[0.9, 0.1], [0.5, 0.5]]])
    np.testing.assert_allclose(np.exp(predictive_mean_log(log_probs)), [[0.7, 0.3]])


def test_the_mean_survives_probabilities_that_underflow() -> None:
    log_probs = np.array([[[0.0, -2000.0], [0.0, -2000.0]]])
    np.testing.assert_allclose(predictive_mean_log(log_probs), [[0.0, -2000.0]])


@pytest.mark.parametrize("options", [2, 3, 10])
def test_flat_predictions_have_entropy_log_c_and_one_per_option(options: int) -> None:
    flat = np.full((1, 1, 12), -np.inf)
    flat[..., :options] = -math.log(options)
    assert predictive_entropy(flat)[0] == pytest.approx(math.log(options))
    assert predictive_entropy(flat, per_option=True)[0] == pytest.approx(1.0)
    assert margin(flat)[0] == pytest.approx(1.0)
    assert least_confidence(flat)[0] == pytest.approx(1 - 1 / options)


@pytest.mark.parametrize("name", MEASURES)
def test_a_certain_item_scores_zero(name: str) -> None:
    certain = np.array([[[0.0, -np.inf, -np.inf]] * 4])
    for per_option in (False, True):
        assert MEASURES[name](certain, per_option=per_option).tolist() == [0.0]


@pytest.mark.parametrize("name", MEASURES)
def test_a_probability_that_rounding_put_above_one_gives_no_negative_score(name: str) -> None:
    log_probs = np.array([[[1e-9, -np.inf]], [[1e-9, -40.0]]])
    assert (MEASURES[name](log_probs) >= 0).all()


def test_bald_of_samples_that_are_certain_and_disagree_is_log_k() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(3))[None]
    assert bald(log_probs)[0] == pytest.approx(math.log(3))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 7), c=st.integers(1, 6))
def test_bald_is_exactly_zero_when_samples_agree(seed: int, k: int, c: int) -> None:
    log_probs = random_log_probs(seed, n=5, k=1, c=c, ragged=True).repeat(k, axis=1)
    assert bald(log_probs).tolist() == [0.0] * 5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 7), c=st.integers(1, 6))
def test_bald_lies_between_zero_and_both_its_bounds(seed: int, k: int, c: int) -> None:
    log_probs = random_log_probs(seed, n=10, k=k, c=c, ragged=True)
    scores = bald(log_probs)
    assert (scores >= 0).all()
    assert (scores <= np.minimum(math.log(k), predictive_entropy(log_probs)) + 1e-9).all()


def test_rounding_cannot_make_bald_negative_when_samples_nearly_agree() -> None:
    log_probs = random_log_probs(seed=1, n=200, k=1, c=4).repeat(3, axis=1)
    log_probs[:, 1] += 1e-14
    assert (bald(log_probs) >= 0).all()


def test_bald_refuses_what_is_no_set_of_distributions() -> None:
    log_probs = random_log_probs(seed=0, n=4, k=3, c=3)
    log_probs[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="mutual information"):
        bald(log_probs)


@pytest.mark.parametrize("name", MEASURES)
def test_a_score_does_not_depend_on_shard_padding_or_order_of_samples(name: str) -> None:
    log_probs = random_log_probs(seed=3, n=20, k=4, c=3, ragged=True)
    wider = np.concatenate([log_probs, np.full((20, 4, 2), -np.inf)], axis=-1)
    for per_option in (False, True):
        whole = MEASURES[name](log_probs, per_option=per_option)
        shards = [MEASURES[name](log_probs[i : i + 3], per_option=per_option) for i in range(0, 20, 3)]
        assert np.concatenate(shards).tolist() == whole.tolist()
        for same in (wider, log_probs[:, ::-1], log_probs[..., ::-1]):
            np.testing.assert_allclose(MEASURES[name](same, per_option=per_option), whole, atol=1e-12)


def test_per_option_lets_items_with_few_options_rank_above_surer_items_with_many() -> None:
    # Two flat options: 0.69 nats; ten options, one of them at 0.7: 1.27 nats.
    log_probs = np.full((2, 1, 10), -np.inf)
    log_probs[0, 0, :2] = math.log(0.5)
    log_probs[1, 0] = np.log([0.7] + [0.3 / 9] * 9)
    assert predictive_entropy(log_probs).argmax() == 1
    assert predictive_entropy(log_probs, per_option=True).argmax() == 0


def test_no_items_give_no_scores() -> None:
    for measure in MEASURES.values():
        assert measure(np.zeros((0, 2, 3)), per_option=True).shape == (0,)


def test_the_entropy_splits_into_noise_and_disagreement() -> None:
    log_probs_N_K_C = random_log_probs(5, 30, 6, 4, ragged=True)
    aleatoric_N, epistemic_N = entropy_split(log_probs_N_K_C)
    probs = np.exp(log_probs_N_K_C)
    for position in range(30):
        each = [naive_entropy(probs_C.tolist()) for probs_C in probs[position]]
        assert aleatoric_N[position] == pytest.approx(sum(each) / 6, abs=1e-12)
        total = naive_entropy(probs[position].mean(axis=0).tolist())
        assert aleatoric_N[position] + epistemic_N[position] == pytest.approx(total, abs=1e-12)
    assert (epistemic_N >= 0).all() and epistemic_N.max() > 0.05


def test_a_mean_is_over_the_samples_that_an_item_has() -> None:
    log_probs_N_K_C = random_log_probs(6, 3, 8, 4, ragged=True)
    log_probs_N_K_C[0, 2:], log_probs_N_K_C[1, 5:] = np.nan, np.nan
    for position, samples in enumerate((2, 5, 8)):
        alone = predictive_mean_log(log_probs_N_K_C[[position], :samples])[0]
        np.testing.assert_allclose(partial_mean_log(log_probs_N_K_C)[position], alone, rtol=1e-12)
