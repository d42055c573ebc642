"""Uncertainty herding: coverage of the whole pool, weighted by uncertainty (Bae et al. 2025, arXiv 2412.20644).

    f(S) = Σ_i u_i max_{j ∈ S} exp(−‖x_i − x_j‖² / σ²)

S begins with the labelled texts. σ is about as large as labelled texts are apart from each other, so it shrinks as
they fill the space: coverage decides while there are few labels, uncertainty when there are many.
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.kernels import Kernel, Points, rbf
from star_al.types import FloatArray

WIDTH = 1.0
"""σ while fewer than two texts are labelled, as in the authors' code."""

_SAME = 1e-3  # distance between unit vectors below which texts count as copies of each other
_BLOCK = 1024


def uncertainty_herding(points_M_d: Points, uncertainty_M: FloatArray, known_L_d: Points) -> FacilityLocation:
    """Return the greedy rule of uncertainty herding.

    Args:
        points_M_d: Unit vectors of the candidates.
        uncertainty_M: Their uncertainties, at least 0; all weigh the same if all are 0.
        known_L_d: Unit vectors of the items that were asked before.
    """
    weights_M = uncertainty_M if uncertainty_M.any() else np.ones_like(uncertainty_M)
    return FacilityLocation(points_M_d, weights_M, known_L_d, adaptive_rbf(known_L_d))


def adaptive_rbf(known_L_d: Points) -> Kernel:
    """Return an RBF kernel as wide as the median distance of a labelled text to the nearest other one.

    The authors take the smallest distance, which two texts that are nearly the same decide alone.
    """
    nearest_L = _nearest_distances(known_L_d)
    apart_L = nearest_L[nearest_L > _SAME]
    return rbf(float(np.median(apart_L)) if len(apart_L) else WIDTH)


def _nearest_distances(points_L_d: Points) -> FloatArray:
    """Return the distance of each unit vector to the nearest other one, (L,); none if there is only one."""
    if len(points_L_d) < 2:
        return np.zeros(0)
    nearest_L = np.empty(len(points_L_d))
    for start in range(0, len(points_L_d), _BLOCK):
        cosines_B_L = points_L_d[start : start + _BLOCK] @ points_L_d.T
        rows = np.arange(len(cosines_B_L))
        cosines_B_L[rows, start + rows] = -1.0
        nearest_L[start : start + _BLOCK] = cosines_B_L.max(axis=1)
    distances_L: FloatArray = np.sqrt(np.maximum(2.0 - 2.0 * nearest_L, 0.0))
    return distances_L
