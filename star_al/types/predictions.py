"""What models predict. Log-probabilities are natural logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from star_al.types.arrays import FloatArray


@dataclass(frozen=True)
class Categorical:
    """Predictions over a closed set of labels, by K samples of the posterior.

    Shape:
        log_probs_N_K_C: Float64 natural logs; after exp, each row sums to one. Options that an item does
            not have are −inf at the end of its row. Sample k is the same function for every item.

    Raises:
        ValueError: Wrong shape, NaN, or a row that is not a distribution.
    """

    item_ids: tuple[str, ...]
    log_probs_N_K_C: FloatArray

    def __post_init__(self) -> None:
        log_probs = self.log_probs_N_K_C
        if log_probs.ndim != 3 or log_probs.shape[0] != len(self.item_ids):
            raise ValueError(f"log_probs has shape {log_probs.shape}, expected ({len(self.item_ids)}, K, C)")
        if log_probs.dtype != np.float64:
            raise ValueError(f"log_probs is {log_probs.dtype}, expected float64")
        if np.isnan(log_probs).any() or (log_probs > 1e-6).any():
            raise ValueError("log_probs has NaN or positive values")
        totals = np.exp(log_probs).sum(axis=-1)
        if totals.size and np.abs(totals - 1).max() > 1e-4:
            raise ValueError(f"a row sums to {totals.flat[np.abs(totals - 1).argmax()]:.6f}, not to 1")

    def __len__(self) -> int:
        return len(self.item_ids)


Predictions: TypeAlias = Categorical
"""What a learner answers: the first of a tagged union that text, multi-label and spans will join."""


@dataclass(frozen=True, slots=True)
class BasePrediction:
    """The frozen base model's prediction for one item, (C,) float64 natural logs.

    ``log_prior_C`` is its answer to a content-free input, for contextual calibration (Zhao et al. 2021).
    """

    item_id: str
    log_probs_C: FloatArray
    log_prior_C: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class HeldOutPrediction:
    """The prediction of a round's model for one audit or calibration item.

    Attributes:
        model: ``adapted`` or ``shadow``; a round without an adapter has its base model as ``adapted``.
        log_probs_C: The predictive mean, not temperature-scaled, (C,) float64 natural logs.
        uncertainty: By the campaign's measure, over all samples; ``None`` for the shadow, and if the
            measure needs other items (EPIG).
    """

    item_id: str
    model: str
    log_probs_C: FloatArray
    uncertainty: float | None = None
