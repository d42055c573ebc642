"""Adaptive sampling: more posterior samples only for items whose place in the batch is still open.

All items get a few samples. From these each score gets an interval that holds the score of all K samples,
and only items whose interval leaves open on which side of the batch's border they fall get more, until none
is left or all K are spent.

The batch is nearly that of K samples each, not surely. An interval may fail to hold that score; and items that
are decided keep their score of few samples, which counts where scores are normalised over the pool: with λ = 1
and top scores not at all, with λ < 1 and ``minmax`` little, as the pool's ends stay open, with ``rank`` the
most. In simulations 0.99 of the batch is the same with ``minmax`` and 0.95 to 0.97 with ``rank``.

Samples are nested, so the mean of all K differs from that of the k that are known by less than the mean of
others would: by a standard error of σ·√(1/k − 1/K).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from star_al.acquire.blend import blend
from star_al.acquire.measures import Measure
from star_al.types import FloatArray, IntArray

WIDTH = 1.5
"""Half an interval, in standard errors; chosen with ``scripts/bench_adaptive.py``."""


@dataclass(frozen=True)
class Intervals:
    """Scores of N items by the samples that each has, and bounds for what all K samples would give.

    ``low_N`` ≤ ``score_N`` ≤ ``high_N``; the three are equal where nothing is open.
    """

    low_N: FloatArray
    score_N: FloatArray
    high_N: FloatArray


@dataclass(frozen=True)
class Choice:
    """How the batch is chosen from adapted scores: what ``blend`` and ``select`` get besides.

    ``sizes``: of the batch, and of the batch with its buffer. ``noise_N``: what power sampling adds to the
    logarithm of the blended scores; null for the top scores.
    """

    sizes: tuple[int, ...]
    weight: float | None
    normalise: Literal["minmax", "rank"]
    noise_N: FloatArray | None = None


def sample_stages(first: int, total: int) -> Iterator[range]:
    """The samples of each stage: 0 to ``first``, then as many again as there were, to ``total``."""
    start, stop = 0, min(first, total)
    while start < stop:
        yield range(start, stop)
        start, stop = stop, min(2 * stop, total)


def intervals(
    log_probs_N_K_C: FloatArray, measure: Measure, total: int, *, per_option: bool = False
) -> Intervals:
    """Scores by the K samples that are here, with bounds for those by ``total`` of them.

    The mean of all samples lies around that of K with the covariance h² Σ, h² = 1/K − 1/total, Σ that of a
    sample. So the mean is pulled towards each sample in turn by the share h: what that does to the score has
    the mean square of its standard error and, as the pulls cancel, the mean of its bias. Pulls of this size
    see a score bend (margin, where two labels tie), unlike the small ones of a jackknife.
    """
    n, k, labels = log_probs_N_K_C.shape
    score_N = measure(log_probs_N_K_C, per_option=per_option)
    if k >= total:
        return Intervals(score_N, score_N, score_N)
    probs_N_K_C = np.exp(log_probs_N_K_C)
    share = np.sqrt(1.0 / k - 1.0 / total)
    pulled_N_K_C = (1.0 - share) * probs_N_K_C.mean(axis=1, keepdims=True) + share * probs_N_K_C
    has_N_1_C = np.isfinite(log_probs_N_K_C).any(axis=1, keepdims=True)
    log_N_K_C = np.where(has_N_1_C, np.log(pulled_N_K_C.clip(np.finfo(float).tiny, 1.0)), -np.inf)
    score_N_K = measure(log_N_K_C.reshape(n * k, 1, labels), per_option=per_option).reshape(n, k)
    moved_N_K = score_N_K - score_N[:, None]
    centre_N = score_N - moved_N_K.sum(axis=1) / (k - 1)
    error_N = np.sqrt((moved_N_K**2).sum(axis=1) / (k - 1))
    return Intervals(
        np.minimum(score_N, centre_N) - WIDTH * error_N,
        score_N,
        np.maximum(score_N, centre_N) + WIDTH * error_N,
    )


def undecided(
    scores: Intervals, base_N: FloatArray | None, choice: Choice, still_open_M: IntArray
) -> IntArray:
    """Positions, ascending, of the items that their intervals leave on either side of the batch's border.

    An item is surely in when fewer than ``size`` others may reach its lower bound, and surely out when
    ``size`` others surely pass its upper one. ``base_N`` are the base scores, where the blend needs them;
    ``still_open_M`` are the positions that the stage before left open: what was decided stays so, and items
    that are open have all samples so far. With ``minmax`` the pool's lowest and highest item, which all other
    scores are relative to, stay open as long as another does.
    """
    open_N = np.zeros(len(scores.score_N), dtype=bool)
    low_N = _keys(scores.low_N, scores.score_N, base_N, choice)
    high_N = _keys(scores.high_N, scores.score_N, base_N, choice)
    for size in choice.sizes:
        if 0 < size < len(open_N):
            surely_in_N = low_N > np.sort(high_N)[-size - 1]
            surely_out_N = high_N < np.sort(low_N)[-size]
            open_N |= ~(surely_in_N | surely_out_N)
    open_N &= high_N > low_N
    if choice.normalise == "minmax" and open_N.any():
        for end in (scores.score_N.argmin(), scores.score_N.argmax()):
            open_N[end] = high_N[end] > low_N[end]
    positions_M: IntArray = still_open_M[open_N[still_open_M]]
    return positions_M


def _keys(adapted_N: FloatArray, pool_N: FloatArray, base_N: FloatArray | None, choice: Choice) -> FloatArray:
    """What the batch is the top of, if each item alone had the score in ``adapted_N`` instead."""
    blended_N = blend(adapted_N, base_N, choice.weight, choice.normalise, pool_N)
    if choice.noise_N is None:
        return blended_N
    with np.errstate(divide="ignore"):
        perturbed_N: FloatArray = np.log(blended_N.clip(0.0)) + choice.noise_N
    return perturbed_N
