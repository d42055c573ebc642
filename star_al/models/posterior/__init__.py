"""Posteriors over functions: what training leaves open about the weights, as draws that a model can take on.

A draw is one function, the same for every item (methods, section 3), so joint scores over items are valid.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Posterior(Protocol):
    """A trained artefact that can be sampled."""

    @property
    def samples(self) -> int:
        """How many samples predictions use unless told otherwise."""

    def draw(self, model: Any, seed: int, sample: int | None) -> AbstractContextManager[None]:
        """Within the context ``model`` computes sample number ``sample``; null: the mean or mode.

        A sample is a function of ``seed`` and ``sample`` alone. Afterwards the model is bitwise what it was.
        """
