"""MaxHerding: a start that covers the pool (Bae et al. 2024, arXiv 2407.12212).

    f(S) = Σ_i w_i max_{j ∈ S} exp(−‖x_i − x_j‖²)

S begins with the texts that were asked before. In the paper all weights are 1. Where the names of the labels tell
something about the texts, texts whose label they leave open may weigh more (``start_weights``).
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.kernels import Points, rbf
from star_al.types import FloatArray

WIDTH = 1.0
"""Width of the kernel for unit vectors, as in the authors' code."""


def herding(points_M_d: Points, known_L_d: Points, weights_M: FloatArray | None = None) -> FacilityLocation:
    """Return the greedy rule of MaxHerding.

    Args:
        points_M_d: Unit vectors of the candidates.
        known_L_d: Unit vectors of the items that were asked before.
        weights_M: Weights of the candidates as texts to cover; None for 1 each.
    """
    weights_M = np.ones(len(points_M_d)) if weights_M is None else weights_M
    return FacilityLocation(points_M_d, weights_M, known_L_d, rbf(WIDTH))
