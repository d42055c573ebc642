"""MaxHerding: a start that covers the pool (Bae et al. 2024, arXiv 2407.12212).

    f(S) = Σ_i w_i max_{j ∈ S} max(0, cos(x_i, x_j))

S begins with the texts that were asked before, and all weights are 1. The paper leaves the kernel open and uses an
RBF. The clipped cosine was the most even of those tried (docs/methods.md, "Cold start"), and has no width to choose.
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.kernels import Points


def herding(points_M_d: Points, known_L_d: Points) -> FacilityLocation:
    """Return the greedy rule of MaxHerding.

    Args:
        points_M_d: Unit vectors of the candidates.
        known_L_d: Unit vectors of the items that were asked before.
    """
    return FacilityLocation(points_M_d, np.ones(len(points_M_d)), known_L_d)
