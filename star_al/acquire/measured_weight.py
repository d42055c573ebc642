"""The blend's weight, measured: the λ under which the blended score best predicts held-out errors.

The schedule λ_t = min(0.9, 0.1·t) of STAR looks at no data. Here labelled items that no model was trained on
say which λ ranks the adapted model's errors first, by AUROC; their uncertainties are normalised by the pool's
map, as those of the pool are. Few errors make a noisy optimum, so it is shrunk towards the schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from star_al.acquire.blend import normalise
from star_al.types import FloatArray

GRID = np.linspace(0.0, 1.0, 21)
FEWEST = 10
"""Errors, and right answers, that a measurement needs (methods, section 2)."""

HALF_WAY = 20
"""Errors (or right answers, if they are fewer) at which measurement and schedule count the same."""


@dataclass(frozen=True)
class HeldOut:
    """Uncertainties of M labelled items that were not trained on, and whether the adapted model errs on them."""

    adapted_M: FloatArray
    base_M: FloatArray
    errors_M: NDArray[np.bool_]


@dataclass(frozen=True)
class Weight:
    """A weight of the adapted model, how it came about in words, and (weight, AUROC) over the grid if measured."""

    value: float
    note: str
    curve: tuple[tuple[float, float], ...] = ()


def measured_weight(
    held_out: HeldOut,
    pool_adapted_N: FloatArray,
    pool_base_N: FloatArray,
    method: Literal["minmax", "rank"],
    schedule: float,
) -> Weight:
    """λ = ω·λ̂ + (1 − ω)·``schedule``, ω = m / (m + 20), m the smaller number of errors and right answers.

    λ̂ is the weight of the grid with the highest AUROC; of several the one nearest to the schedule. With m
    under 10 the schedule stands.

    Raises:
        ValueError: scores that are not finite.
    """
    n, errors = len(held_out.errors_M), int(held_out.errors_M.sum())
    fewer = min(errors, n - errors)
    if fewer < FEWEST:
        return Weight(
            schedule,
            f"by schedule: {errors} errors among {n} held-out items are too few or too many to measure it",
        )
    adapted_M = normalise(held_out.adapted_M, method, pool_adapted_N)
    base_M = normalise(held_out.base_M, method, pool_base_N)
    auroc_G = np.array([auroc(w * adapted_M + (1.0 - w) * base_M, held_out.errors_M) for w in GRID])
    best_G = np.flatnonzero(auroc_G >= auroc_G.max() - 1e-12)
    best = int(best_G[np.abs(GRID[best_G] - schedule).argmin()])
    trust = fewer / (fewer + HALF_WAY)
    value = float(trust * GRID[best] + (1.0 - trust) * schedule)
    note = (
        f"measured: {GRID[best]:.2f} ranks {errors} errors of {n} held-out items best (AUROC {auroc_G[best]:.3f}); "
        f"the schedule says {schedule:.2f}, the measurement counts {trust:.0%}"
    )
    return Weight(value, note, tuple(zip(GRID.tolist(), auroc_G.tolist(), strict=True)))


def auroc(scores_M: FloatArray, errors_M: NDArray[np.bool_]) -> float:
    """Probability that an error scores above a right answer, ties counting half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(errors_M, scores_M))
