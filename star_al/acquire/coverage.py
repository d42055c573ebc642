"""How many texts each question stands for.

A question covers the texts that resemble it at least as much as the most similar hundredth of the pool's pairs
resemble each other. A limit from the pool itself serves every encoder, however close together it puts all texts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from star_al.acquire.kernels import Points
from star_al.types import IntArray

PAIRS = 0.01
"""Share of pairs of texts that count as similar."""

SAMPLE = 2000
"""Texts whose pairs are looked at; more change the limit little."""

_BLOCK = 2048


def similar_from(sample_S_d: Points) -> float:
    """Return the cosine from which texts count as similar; 1 if there are no pairs.

    Args:
        sample_S_d: Unit vectors of about ``SAMPLE`` random texts of the pool.
    """
    if len(sample_S_d) < 2:
        return 1.0
    rows, columns = np.triu_indices(len(sample_S_d), 1)
    return float(np.quantile((sample_S_d @ sample_S_d.T)[rows, columns], 1.0 - PAIRS))


def newly_covered(
    blocks: Iterable[Points], chosen_B_d: Points, known_L_d: Points, similar: float
) -> IntArray:
    """Count the texts that each question covers and none before it.

    Args:
        blocks: Unit vectors of the pool, block by block.
        chosen_B_d: Unit vectors of the questions, in order.
        known_L_d: Unit vectors of the questions of earlier rounds.
        similar: The cosine from which a question covers a text.

    Returns:
        Number of texts of each question, (B,). A question without any other has at least itself.
    """
    counts_B = np.zeros(len(chosen_B_d), dtype=np.int64)
    if not len(chosen_B_d):
        return counts_B
    limit = similar - 1e-6  # rounding may put equal vectors below 1
    for points_N_d in blocks:
        open_N = np.ones(len(points_N_d), dtype=bool)
        for start in range(0, len(known_L_d), _BLOCK):
            near_N_L = points_N_d[open_N] @ known_L_d[start : start + _BLOCK].T
            open_N[open_N] = near_N_L.max(axis=1) < limit
        covers_N_B = points_N_d[open_N] @ chosen_B_d.T >= limit
        first_N = covers_N_B.argmax(axis=1)[covers_N_B.any(axis=1)]
        counts_B += np.bincount(first_N, minlength=len(counts_B))
    return counts_B
