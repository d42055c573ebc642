"""Adaptive sampling: intervals against a naive jackknife, decisions against naive counting, and the guarantee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from star_al.acquire.adaptive_sampling import BatchRule, Intervals, intervals, sample_stages, undecided
from star_al.acquire.blend import blend
from star_al.acquire.measures import MEASURES
from star_al.acquire.ranking import power_noise, top_k
from star_al.config.spec import CampaignSpec
from star_al.types import FloatArray, IntArray
from support.power_sampling import power_sample

N, K, C = 300, 32, 4
SIZE = 20
ALL = np.arange(N)


def table(seed: int, noise: float = 0.4) -> FloatArray:
    """Log-probabilities (N, K, C) of coherent samples, each of which perturbs a linear function of the item."""
    rng = np.random.default_rng(seed)
    features_N_F, weights_K_F_C = rng.normal(size=(N, 8)), rng.normal(size=(K, 8, C))
    logits = 2.0 * rng.normal(size=(N, 1, C)) + noise * np.einsum(
        "nf,kfc->nkc", features_N_F, weights_K_F_C
    ) / np.sqrt(8)
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))


def base(seed: int) -> FloatArray:
    return np.random.default_rng(seed).random(N)


def ids(n: int = N) -> list[str]:
    return [f"{number:04d}" for number in range(n)]


def sampled(
    log_probs_N_K_C: FloatArray, base_N: FloatArray, choice: BatchRule, measure: str, first: int = 4
) -> tuple[FloatArray, FloatArray]:
    """Score a pool by adaptive sampling; return the scores and the number of samples of each item."""
    bounds_3_N = np.zeros((3, N))
    samples_N: FloatArray = np.zeros(N)
    open_N: IntArray = np.arange(N)
    for draws in sample_stages(first, K):
        here = intervals(log_probs_N_K_C[open_N, : draws.stop], MEASURES[measure], K)
        bounds_3_N[:, open_N] = here.low_N, here.score_N, here.high_N
        samples_N[open_N] = draws.stop
        open_N = undecided(Intervals(*bounds_3_N), base_N, choice, open_N)
        if not len(open_N):
            break
    return bounds_3_N[1], samples_N


def test_stages_double_and_end_at_the_total() -> None:
    assert list(sample_stages(4, 20)) == [range(0, 4), range(4, 8), range(8, 16), range(16, 20)]
    assert list(sample_stages(4, 4)) == list(sample_stages(9, 4)) == [range(0, 4)]


@pytest.mark.parametrize("measure", ["entropy", "margin", "least_confidence"])
def test_intervals_are_those_of_a_naive_loop(measure: str) -> None:
    log_probs_N_K_C = table(0)[:20, :6]
    log_probs_N_K_C[:5, :, -1] = -np.inf  # the first five have three options
    log_probs_N_K_C -= np.logaddexp.reduce(log_probs_N_K_C, axis=-1, keepdims=True)
    found = intervals(log_probs_N_K_C, MEASURES[measure], 24, per_option=True)
    for position, log_probs_K_C in enumerate(log_probs_N_K_C):

        def score(probs_C: FloatArray) -> float:
            with np.errstate(divide="ignore"):
                return float(MEASURES[measure](np.log(probs_C)[None, None], per_option=True)[0])

        probs_K_C = np.exp(log_probs_K_C)
        mean_C, share = probs_K_C.mean(axis=0), (1 / 6 - 1 / 24) ** 0.5
        whole = score(mean_C)
        moved = [score(mean_C + share * (probs_C - mean_C)) - whole for probs_C in probs_K_C]
        centre, half = whole - sum(moved) / 5, 1.5 * (sum(each**2 for each in moved) / 5) ** 0.5
        assert found.score_N[position] == pytest.approx(whole, abs=1e-9)
        assert found.low_N[position] == pytest.approx(min(whole, centre) - half, abs=1e-9)
        assert found.high_N[position] == pytest.approx(max(whole, centre) + half, abs=1e-9)


def test_with_all_samples_nothing_is_open() -> None:
    bounds = intervals(table(0), MEASURES["entropy"], K)
    np.testing.assert_array_equal(bounds.low_N, bounds.high_N)
    assert len(undecided(bounds, base(0), BatchRule((SIZE,), 0.5, "minmax"), ALL)) == 0


def test_for_a_linear_score_the_error_is_that_of_a_mean() -> None:
    """Where one label leads, least confidence is 1 − p̄_1: the error is σ·√(1/k − 1/K), without bias."""
    log_probs_N_K_C = np.log(np.random.default_rng(4).dirichlet([60.0, 2.0, 2.0, 2.0], size=(30, 8)))
    found = intervals(log_probs_N_K_C, MEASURES["least_confidence"], K)
    error_N = np.exp(log_probs_N_K_C[..., 0]).std(axis=1, ddof=1) * (1 / 8 - 1 / K) ** 0.5
    np.testing.assert_allclose(found.high_N - found.score_N, 1.5 * error_N, rtol=1e-9)
    np.testing.assert_allclose(found.score_N - found.low_N, 1.5 * error_N, rtol=1e-9)


@pytest.mark.parametrize("measure", ["entropy", "margin", "least_confidence"])
def test_intervals_hold_the_score_of_all_samples_about_as_often_as_they_say(measure: str) -> None:
    held = []
    for seed in range(10):
        log_probs_N_K_C = table(seed)
        bounds = intervals(log_probs_N_K_C[:, :8], MEASURES[measure], K)
        whole_N = MEASURES[measure](log_probs_N_K_C)
        held.append(((bounds.low_N <= whole_N) & (whole_N <= bounds.high_N)).mean())
    assert 0.8 < np.mean(held) < 0.92  # 0.82 by Student's t of 7 degrees of freedom, 0.87 by the normal


@pytest.mark.parametrize("normalise", ["minmax", "rank"])
@pytest.mark.parametrize("batch", ["top_k", "power"])
def test_decisions_are_those_of_naive_counting(batch: str, normalise: Literal["minmax", "rank"]) -> None:
    rng = np.random.default_rng(3)
    score_N, base_N = rng.random(60), rng.random(60)
    width_N = rng.exponential(0.05, size=60) * (rng.random(60) < 0.8)
    bounds = Intervals(score_N - width_N, score_N, score_N + width_N)
    noise_N = power_noise(60, 2.0, rng) if batch == "power" else None

    def key(position: int, value: float) -> float:
        """Sort key of an item if its score were ``value`` and the rest of the pool unchanged."""
        if normalise == "minmax":
            share = (value - score_N.min()) / (score_N.max() - score_N.min())
        else:
            below, equal = (score_N < value).sum(), (score_N == value).sum()
            share = (below + (equal - 1) / 2) / 59
        base_share = (base_N[position] - base_N.min()) / (base_N.max() - base_N.min())
        if normalise == "rank":
            base_share = (base_N < base_N[position]).sum() / 59
        blended = 0.6 * share + 0.4 * base_share
        return float(blended if noise_N is None else np.log(max(blended, 0.0)) + noise_N[position])

    low = [key(position, bounds.low_N[position]) for position in range(60)]
    high = [key(position, bounds.high_N[position]) for position in range(60)]
    expected = set()
    for size in (7, 11):
        for one in range(60):
            others = [other for other in range(60) if other != one]
            surely_in = sum(high[other] >= low[one] for other in others) < size
            surely_out = sum(low[other] > high[one] for other in others) >= size
            if not surely_in and not surely_out and high[one] > low[one]:
                expected.add(one)
    if normalise == "minmax":
        ends = {int(score_N.argmin()), int(score_N.argmax())}
        expected |= {end for end in ends if high[end] > low[end]}
    choice = BatchRule((7, 11), 0.6, normalise, noise_N)
    assert 3 < len(expected) < 55
    assert undecided(bounds, base_N, choice, ALL[:60]).tolist() == sorted(expected)
    assert undecided(bounds, base_N, choice, ALL[10:40]).tolist() == sorted(expected & set(range(10, 40)))


@pytest.mark.parametrize("seed", range(3))
def test_when_every_interval_holds_the_batch_is_that_of_all_samples(seed: int) -> None:
    """For any scores within the intervals, every decided item is on the side it was assigned to."""
    rng = np.random.default_rng(seed)
    score_N = rng.random(N)
    width_N = rng.exponential(0.01, size=N)
    score_N[[0, 1]], width_N[[0, 1]] = [-0.2, 1.2], 0.0  # so that the pool's normalisation stays
    bounds = Intervals(score_N - width_N, score_N, score_N + width_N)
    open_ = set(undecided(bounds, None, BatchRule((SIZE,), 1.0, "minmax"), ALL).tolist())
    batches = []
    for _ in range(50):
        final_N = score_N + rng.uniform(-1, 1, size=N) * width_N
        batches.append({int(item_id) for item_id in top_k(final_N, ids(), SIZE)})
    decided_in = set.intersection(*batches) - open_
    assert 0 < len(open_) < N / 2
    assert decided_in
    for batch in batches:
        assert batch - open_ == decided_in


@pytest.mark.parametrize("measure", ["entropy", "margin", "least_confidence"])
def test_without_noise_the_first_pass_is_enough_and_exact(measure: str) -> None:
    log_probs_N_K_C = np.repeat(table(0)[:, :1], K, axis=1)
    choice = BatchRule((SIZE,), 0.5, "minmax")
    scores_N, samples_N = sampled(log_probs_N_K_C, base(0), choice, measure)
    assert (samples_N == 4).mean() > 0.99
    whole_N = MEASURES[measure](log_probs_N_K_C)
    assert set(top_k(blend(scores_N, base(0), 0.5, "minmax"), ids(), SIZE)) == set(
        top_k(blend(whole_N, base(0), 0.5, "minmax"), ids(), SIZE)
    )


@pytest.mark.parametrize(
    ("measure", "weight", "normalise", "beta"),
    [
        ("entropy", 1.0, "minmax", None),
        ("entropy", 0.3, "minmax", None),
        ("entropy", 0.5, "rank", None),
        ("entropy", 0.5, "minmax", 4.0),
        ("margin", 0.5, "minmax", None),
        ("least_confidence", 0.5, "minmax", None),
    ],
)
def test_the_batch_is_that_of_all_samples_for_half_of_the_passes(
    measure: str, weight: float, normalise: Literal["minmax", "rank"], beta: float | None
) -> None:
    overlaps, shares = [], []
    for seed in range(5):
        log_probs_N_K_C, base_N = table(seed), base(seed)
        noise_N = None if beta is None else power_noise(N, beta, np.random.default_rng(seed))
        scores_N, samples_N = sampled(
            log_probs_N_K_C, base_N, BatchRule((SIZE,), weight, normalise, noise_N), measure
        )
        batches = []
        for adapted_N in (scores_N, MEASURES[measure](log_probs_N_K_C)):
            blended_N = blend(adapted_N, base_N, weight, normalise)
            if beta is None:
                batches.append(set(top_k(blended_N, ids(), SIZE)))
            else:
                batches.append(set(power_sample(blended_N, ids(), SIZE, beta, np.random.default_rng(seed))))
        overlaps.append(len(batches[0] & batches[1]) / SIZE)
        shares.append(samples_N.mean() / K)
    assert np.mean(overlaps) >= 0.95
    assert np.mean(shares) <= 0.5


@pytest.mark.parametrize(("normalise", "mean", "least"), [("minmax", 0.99, 0.95), ("rank", 0.94, 0.8)])
def test_the_overlap_under_a_blend_is_what_the_module_says(
    normalise: Literal["minmax", "rank"], mean: float, least: float
) -> None:
    overlaps = []
    for weight in (0.1, 0.5):
        for seed in range(30):
            log_probs_N_K_C, base_N = table(seed), base(seed)
            scores_N, _ = sampled(log_probs_N_K_C, base_N, BatchRule((SIZE,), weight, normalise), "entropy")
            batches = [
                set(top_k(blend(adapted_N, base_N, weight, normalise), ids(), SIZE))
                for adapted_N in (scores_N, MEASURES["entropy"](log_probs_N_K_C))
            ]
            overlaps.append(len(batches[0] & batches[1]) / SIZE)
    assert np.mean(overlaps) >= mean and min(overlaps) >= least


def test_the_ends_of_the_pool_stay_open_as_long_as_others_do() -> None:
    score_N: FloatArray = np.arange(10, dtype=np.float64)
    width_N = np.where(np.isin(np.arange(10), [0, 6, 7, 9]), 0.6, 0.0)
    bounds = Intervals(score_N - width_N, score_N, score_N + width_N)
    blended, whole, base_N = BatchRule((3,), 0.5, "minmax"), np.arange(10), np.zeros(10)
    assert undecided(bounds, base_N, blended, whole).tolist() == [0, 6, 7, 9]
    assert undecided(bounds, base_N, BatchRule((3,), 0.5, "rank"), whole).tolist() == [6, 7]
    width_N[6] = width_N[7] = 0.0
    bounds = Intervals(score_N - width_N, score_N, score_N + width_N)
    assert undecided(bounds, base_N, blended, whole).tolist() == []


def test_scores_that_do_not_depend_on_the_adapter_need_no_more_samples() -> None:
    bounds = intervals(table(0)[:, :4], MEASURES["entropy"], K)
    for weight in (0.0, None):
        assert len(undecided(bounds, base(0), BatchRule((SIZE,), weight, "minmax"), ALL)) == 0
    assert len(undecided(bounds, None, BatchRule((N, N + 5), 1.0, "minmax"), ALL)) == 0  # all are asked


def campaign(acquisition: Mapping[str, Any], posterior: Mapping[str, Any]) -> CampaignSpec:
    return CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": ["a", "b"]},
            "model": {"name": "tiny"},
            "annotator": {"kind": "oracle", "gold": "gold"},
            "acquisition": acquisition,
            "posterior": posterior,
        }
    )


@pytest.mark.parametrize(
    ("acquisition", "posterior", "message"),
    [
        ({"measure": "bald"}, {"samples": 32}, "does not go with acquisition.measure: bald"),
        ({}, {"samples": 15}, "at least 16 samples; this one has 15"),
        ({}, {"kind": "map"}, "at least 16 samples; this one has 1"),
        ({"adaptive_samples": 16}, {"samples": 16}, "leaves none of 16 samples"),
    ],
    ids=["bald", "few", "map", "first"],
)
def test_settings_that_do_not_go_together_are_refused(
    acquisition: dict[str, Any], posterior: dict[str, Any], message: str
) -> None:
    assert campaign({"adaptive_samples": 4}, {"kind": "mc_dropout", "samples": 16})
    with pytest.raises(ValidationError, match=message):
        campaign({"adaptive_samples": 4} | acquisition, {"kind": "mc_dropout"} | posterior)
