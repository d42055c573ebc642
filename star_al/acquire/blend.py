"""The dynamic blend of base and adapted uncertainty (STAR, Zhang et al. 2024, arXiv 2403.01165).

    u_t(x) = λ_t · n(u_adapted(x)) + (1 − λ_t) · n(u_base(x))

n normalises over the current pool to [0, 1], so that neither term drowns the other: the two models'
uncertainties have different ranges, and a sum of raw values ranks by the larger one alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from star_al.types import FloatArray


def normalise(
    scores_N: FloatArray, method: Literal["minmax", "rank"], pool_N: FloatArray | None = None
) -> FloatArray:
    """Map scores over one pool to [0, 1], keeping their order; constant scores become 0.

    ``minmax`` is the paper's; ``rank`` is robust to outliers, equal scores sharing their mean rank.
    ``pool_N`` are the scores of the pool, where ``scores_N`` are values that its items could have instead;
    they may then leave [0, 1].

    Raises:
        ValueError: NaN or infinite scores.
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


def blend_weight(
    kind: Literal["schedule", "constant", "off", "measured"], trained_round: int, constant: float
) -> float | None:
    """λ_t, the adapted model's share; None in a round without adapter, where the base alone ranks.

    ``trained_round`` is t: 0 without adapter, 1 for the first round that trained one. ``schedule`` is the
    paper's λ_t = min(0.9, 0.1·t), ``constant`` the given number, ``off`` the adapted model alone.
    ``measured`` starts from the schedule (``star_al.acquire.measured_weight``).
    """
    if trained_round == 0:
        return None
    schedule = min(0.9, 0.1 * trained_round)
    return {"schedule": schedule, "measured": schedule, "constant": constant, "off": 1.0}[kind]


def blend(
    adapted_N: FloatArray | None,
    base_N: FloatArray | None,
    weight: float | None,
    method: Literal["minmax", "rank"],
    pool_N: FloatArray | None = None,
) -> FloatArray:
    """u_t in [0, 1], shape (N,). A term without weight may be None; ``weight`` None is the base alone.

    ``pool_N`` as in ``normalise``, for the adapted term.

    Raises:
        ValueError: a weight outside [0, 1], a term that is needed and missing, terms of different
            lengths, or scores that are not finite.
    """
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


def _mean_ranks(scores_N: FloatArray, pool_N: FloatArray) -> FloatArray:
    """Ascending ranks in the pool from 0, equal scores sharing their mean rank."""
    sorted_N = np.sort(pool_N)
    below_N = np.searchsorted(sorted_N, scores_N, side="left")
    not_above_N = np.searchsorted(sorted_N, scores_N, side="right")
    return (below_N + not_above_N - 1) / 2


def _needed(scores_N: FloatArray | None, name: str) -> FloatArray:
    if scores_N is None:
        raise ValueError(f"the blend needs {name} scores and has none")
    return scores_N
