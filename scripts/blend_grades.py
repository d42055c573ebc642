"""Learn a blend's weights from the answers in a study's campaign in memory, as the product does from its database."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star_al.acquire.prequential import Graded, fit_slopes, shares
from star_al.types import FloatArray


class Grades:
    """What each labelled batch says about the models that asked for it."""

    def __init__(self) -> None:
        self._batches: list[tuple[FloatArray, NDArray[np.bool_]]] = []

    def add(self, ranks_k_J: FloatArray, wrong_k: NDArray[np.bool_]) -> None:
        """Grade the models by a batch.

        Args:
            ranks_k_J: The ranks in the pool that each of J models gave the k texts.
            wrong_k: True if the model that ranked predicted another label.
        """
        self._batches.append((ranks_k_J, wrong_k))

    def weights(self, prior_J: FloatArray) -> FloatArray:
        """Return the models' weights (J,), which add up to 1.

        Args:
            prior_J: Means of the slopes' prior.
        """
        sizes = [len(wrong_k) for _, wrong_k in self._batches]
        groups_M = np.repeat(np.arange(len(sizes)), sizes)
        graded = Graded(
            np.concatenate([np.zeros((0, len(prior_J))), *(ranks for ranks, _ in self._batches)]),
            np.concatenate([np.zeros(0, dtype=bool), *(wrong for _, wrong in self._batches)]),
            groups_M,
            (len(sizes) - 1.0) - groups_M,
        )
        return shares(fit_slopes(graded, prior_J))
