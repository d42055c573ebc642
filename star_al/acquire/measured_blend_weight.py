"""The blend's weight, measured: the λ under which the blended score best predicts errors on held-out labels.

STAR's schedule λ_t = min(0.9, 0.1·t) does not look at data. Here, labelled items that no model was trained on
tell which λ ranks the adapted model's errors first, by AUROC. Their uncertainties are normalised by the
pool's minimum and maximum (or ranks), as those of the pool are. Few errors make a noisy optimum, so it is
shrunk towards the weight that the answers teach, or the schedule (docs/methods.md, "The blend of base and adapted
uncertainty").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from star_al.acquire.blend import normalise
from star_al.common.wording import count
from star_al.types import FloatArray

GRID = np.linspace(0.0, 1.0, 21)
"""Weights that are tried."""

FEWEST = 10
"""A measurement needs so many errors, and so many correct answers."""

HALF_WAY = 20
"""With so many errors (or correct answers, if they are fewer), the measurement and the other weight count the same."""


@dataclass(frozen=True)
class HeldOut:
    """M labelled items that were not trained on: uncertainties, and whether the adapted model errs.

    ``head_M`` are those of a head beside the adapted model, if it has a part in the blend; NaN where it was not asked.
    """

    adapted_M: FloatArray
    base_M: FloatArray
    errors_M: NDArray[np.bool_]
    head_M: FloatArray | None = None


@dataclass(frozen=True)
class BlendWeight:
    """The weights of a blend; the rest is the base model's.

    Attributes:
        value: λ, the weight of the adapted model.
        note: How it came about, in words.
        curve: Pairs of weight and AUROC over the grid; empty if nothing was measured.
        head: Weight of a head beside the adapted model; ``None`` if it has no part.
    """

    value: float
    note: str
    curve: tuple[tuple[float, float], ...] = ()
    head: float | None = None


def measured_blend_weight(
    held_out: HeldOut,
    pool_adapted_N: FloatArray,
    pool_base_N: FloatArray,
    method: Literal["minmax", "rank"],
    towards: float,
    source: Literal["schedule", "answers"] = "schedule",
) -> BlendWeight:
    """Measure the weight and shrink it towards another one.

    λ = ω·λ̂ + (1 − ω)·``towards`` with ω = m / (m + 20), m being the number of errors or of correct answers,
    whichever is smaller. λ̂ is the weight of the grid with the highest AUROC; of several, the one nearest to
    ``towards``.

    Args:
        held_out: Items to measure on.
        pool_adapted_N: Uncertainties of the pool by the adapted model.
        pool_base_N: Uncertainties of the pool by the base model.
        method: How the blend normalises.
        towards: The weight to shrink towards, which is used alone if m < 10.
        source: Where that weight comes from, for the words.

    Raises:
        ValueError: A score is not finite.
    """
    n, errors = len(held_out.errors_M), int(held_out.errors_M.sum())
    fewer = min(errors, n - errors)
    otherwise, whose = _WORDS[source]
    if fewer < FEWEST:
        return BlendWeight(
            towards,
            f"{otherwise}: measuring needs {FEWEST} errors and {FEWEST} correct answers; "
            f"{errors} of {count(n, 'held-out item')} {'is an error' if errors == 1 else 'are errors'}",
        )
    adapted_M = normalise(held_out.adapted_M, method, pool_adapted_N)
    base_M = normalise(held_out.base_M, method, pool_base_N)
    auroc_G = np.array([auroc(w * adapted_M + (1.0 - w) * base_M, held_out.errors_M) for w in GRID])
    # With few errors the AUROC is the same for whole ranges of λ: take the one nearest to ``towards``.
    best_G = np.flatnonzero(auroc_G >= auroc_G.max() - 1e-12)
    best = int(best_G[np.abs(GRID[best_G] - towards).argmin()])
    # Shrink a noisy optimum: the fewer errors it rests on, the more the other weight counts.
    trust = fewer / (fewer + HALF_WAY)
    value = float(trust * GRID[best] + (1.0 - trust) * towards)
    note = (
        f"measured: {GRID[best]:.2f} ranks the {errors} errors among {n} held-out items best "
        f"(AUROC {auroc_G[best]:.3f}); combined with {whose} {towards:.2f}, giving the measurement {trust:.0%}"
    )
    return BlendWeight(value, note, tuple(zip(GRID.tolist(), auroc_G.tolist(), strict=True)))


_WORDS = {
    "schedule": ("by schedule", "the schedule's"),
    "answers": ("learned from the answers", "what the answers teach,"),
}
"""How a weight that was not measured came about, and how a measured one names it."""


def auroc(scores_M: FloatArray, errors_M: NDArray[np.bool_]) -> float:
    """Return the probability that an error scores higher than a correct answer, ties counting half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(errors_M, scores_M))
