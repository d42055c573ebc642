"""A batch by power sampling, as a round chooses it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from star_al.acquire.ranking import power_order, top_k
from star_al.types import FloatArray


def power_sample(
    scores_N: FloatArray, item_ids: Sequence[str], k: int, beta: float, rng: np.random.Generator
) -> tuple[str, ...]:
    """``k`` ids drawn by power sampling, in order of score."""
    drawn_M = power_order(scores_N, item_ids, beta, rng)[:k]
    return top_k(scores_N[drawn_M], [item_ids[position] for position in drawn_M], k)
