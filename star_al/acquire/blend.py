"""The dynamic blend of base and adapted uncertainty (STAR, Zhang et al. 2024, arXiv 2403.01165).

    u_t(x) = λ_t · n(u_adapted(x)) + (1 − λ_t) · n(u_base(x))

n normalises over the current pool to [0, 1], so that neither term drowns the other: the uncertainties of the
two models have different ranges, and a sum of raw values would rank by the larger one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from star_al.types import FloatArray


def normalise(
    scores_N: FloatArray, method: Literal["minmax", "rank"], pool_N: FloatArray | None = None
) -> FloatArray:
    """Map the scores of a pool to [0, 1], keeping their order; constant scores become 0.

    Args:
        scores_N: Scores to map.
        method: ``minmax``, as in the paper, or ``rank``, which is robust to outliers; equal scores share
            their mean rank.
        pool_N: Scores of the pool, if ``scores_N`` are other ones. Those may then leave [0, 1].

    Returns:
        Normalised scores (N,).

    Raises:
        ValueError: A score is NaN or infinite.
    """
    if not np.isfinite(scores_N).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(scores_N))} of {len(scores_N)} scores are not finite"
        )
    pool_N = scores_N if pool_N is None else pool_N
    if len(pool_N) == 0 or pool_N.min() == pool_N.max():
        return np.zeros(len(scores_N))
    if method == "rank":
        return _mean_ranks(scores_N, pool_N) / (len(pool_N) - 1)
    low, high = float(pool_N.min()), float(pool_N.max())
    return (scores_N - low) / (high - low)


def scheduled_weight(
    kind: Literal["schedule", "constant", "off"], trained_round: int, constant: float
) -> float | None:
    """Return λ_t, the weight of the adapted model.

    Args:
        kind: ``schedule`` for the paper's λ_t = min(0.9, 0.1·t), ``constant`` for a given number, ``off`` for
            the adapted model alone.
        trained_round: t, counted from 1 for the first round with an adapter; 0 for a round without.
        constant: The number for ``constant``.

    Returns:
        λ_t; ``None`` in a round without an adapter, in which the base model ranks alone.
    """
    if trained_round == 0:
        return None
    return {"schedule": min(0.9, 0.1 * trained_round), "constant": constant, "off": 1.0}[kind]


def blend(
    adapted_N: FloatArray | None,
    base_N: FloatArray | None,
    weight: float | None,
    method: Literal["minmax", "rank"],
    pool_N: FloatArray | None = None,
) -> FloatArray:
    """Blend adapted and base uncertainties.

    Args:
        adapted_N: Uncertainties of the adapted model; may be ``None`` if its weight is 0.
        base_N: Uncertainties of the base model; may be ``None`` if its weight is 0.
        weight: λ_t; ``None`` for the base model alone.
        method: How to normalise.
        pool_N: Adapted uncertainties of the pool, if ``adapted_N`` are other ones (see ``normalise``).

    Returns:
        u_t in [0, 1], (N,).

    Raises:
        ValueError: The weight is outside [0, 1], a term that is needed is missing, the terms have different
            lengths, or a score is not finite.
    """
    # A term without weight need not have been computed, so it is not even looked at.
    if weight is None or weight == 0.0:
        return normalise(_needed(base_N, "base"), method)
    if weight == 1.0:
        return normalise(_needed(adapted_N, "adapted"), method, pool_N)
    if not 0.0 < weight < 1.0:
        raise ValueError(f"blend weight {weight} is not in [0, 1]")
    adapted_N, base_N = _needed(adapted_N, "adapted"), _needed(base_N, "base")
    if adapted_N.shape != base_N.shape:
        raise ValueError(f"{len(adapted_N)} adapted scores cannot be blended with {len(base_N)} base scores")
    return weight * normalise(adapted_N, method, pool_N) + (1.0 - weight) * normalise(base_N, method)


def blend_ranks(
    scores_J_N: Sequence[FloatArray], weights_J: Sequence[float], method: Literal["minmax", "rank"]
) -> FloatArray:
    """Blend the ranks that several models give a pool, Σ_j w_j · rank_j, on the scale of the first one's scores.

    The blend decides the order alone: the text that comes n-th gets the n-th highest normalised score of the first
    model. So a batch rule that weighs texts by their scores, such as facility location, works as it does without a
    blend, and a weight of 1 for the first model changes nothing.

    Args:
        scores_J_N: Uncertainties of the pool by each model.
        weights_J: Weights of the models, which add up to 1.
        method: How the first model's scores are normalised.

    Returns:
        Scores in [0, 1], (N,).

    Raises:
        ValueError: A score is not finite, or the lengths differ.
    """
    if len({len(scores_N) for scores_N in scores_J_N}) > 1:
        raise ValueError(
            f"scores of different lengths cannot be blended: {[len(each) for each in scores_J_N]}"
        )
    spaced_N = np.sort(normalise(scores_J_N[0], method))
    ranked_N = sum(
        weight * pool_ranks(scores_N) for weight, scores_N in zip(weights_J, scores_J_N, strict=True)
    )
    if len(spaced_N) == 0 or spaced_N[-1] == 0.0:  # the first model tells nothing apart
        return normalise(np.asarray(ranked_N), "minmax")
    places_N = pool_ranks(np.asarray(ranked_N)) * (len(spaced_N) - 1)
    return np.interp(places_N, np.arange(len(spaced_N)), spaced_N)


def pool_ranks(scores_N: FloatArray, pool_P: FloatArray | None = None) -> FloatArray:
    """Rank scores in a pool, from 0 to 1; equal scores share their mean rank, so that constant ones have ½.

    Args:
        scores_N: Scores to rank.
        pool_P: Scores of the pool, if ``scores_N`` are other ones.

    Returns:
        Ranks (N,).

    Raises:
        ValueError: A score is NaN or infinite.
    """
    pool_P = scores_N if pool_P is None else pool_P
    if not (np.isfinite(scores_N).all() and np.isfinite(pool_P).all()):
        raise ValueError("scores that are not finite cannot be ranked")
    if len(pool_P) < 2:
        return np.full(len(scores_N), 0.5)
    ranks_N: FloatArray = _mean_ranks(scores_N, pool_P) / (len(pool_P) - 1)
    return ranks_N.clip(0.0, 1.0)


def _mean_ranks(scores_N: FloatArray, pool_N: FloatArray) -> FloatArray:
    """Return ascending ranks in the pool, from 0; equal scores share their mean rank."""
    sorted_N = np.sort(pool_N)
    below_N = np.searchsorted(sorted_N, scores_N, side="left")
    not_above_N = np.searchsorted(sorted_N, scores_N, side="right")
    # Equal scores take the ranks from below_N to not_above_N − 1, whose mean they share.
    return (below_N + not_above_N - 1) / 2


def _needed(scores_N: FloatArray | None, name: str) -> FloatArray:
    if scores_N is None:
        raise ValueError(f"the blend needs {name} scores and has none")
    return scores_N
