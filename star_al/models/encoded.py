"""Vectors of texts, and which texts were not read whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from star_al.types import Float32Array

BoolArray: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts.

    Attributes:
        vectors_N_d: A row for each text, not normalised.
        cut_N: True where a part of the text was not read.
    """

    vectors_N_d: Float32Array
    cut_N: BoolArray
