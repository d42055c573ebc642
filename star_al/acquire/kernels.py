"""How much one text stands for another: kernels of the cosine of two unit vectors.

A kernel maps an array of cosines to similarities from 0 to 1, in place where it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.floating[Any]]
"""Unit vectors. Their precision is that of all that is computed with them."""

Kernel: TypeAlias = Callable[[Points], Points]


def clipped_cosine(cosines: Points) -> Points:
    """Return max(0, cos)."""
    return np.maximum(cosines, 0.0, out=cosines)


def rbf(width: float) -> Kernel:
    """Return the kernel exp(−‖x − y‖² / width²), which for unit vectors is exp((2 cos − 2) / width²).

    Raises:
        ValueError: The width is not above 0.
    """
    if not width > 0:
        raise ValueError(f"width is {width}, expected above 0")
    scale = 2.0 / width**2

    def kernel(cosines: Points) -> Points:
        np.minimum(cosines, 1.0, out=cosines)  # rounding may put the cosine of equal vectors above 1
        cosines -= 1.0
        cosines *= scale
        return np.exp(cosines, out=cosines)

    return kernel
