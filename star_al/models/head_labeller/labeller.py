"""Label probabilities of texts by an exported head. Needs numpy and sentence-transformers, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from star_al.models.head_labeller.exported import ExportedHead
from star_al.models.head_labeller.texts import calibrated, softmax


class Labeller(ExportedHead):
    """Labels texts with an exported head."""

    def __call__(self, text: str | Mapping[str, object]) -> dict[str, float]:
        """Return the calibrated probability of each label.

        Args:
            text: The text; a row with the campaign's columns if its texts are made of several.
        """
        vector_d = self._texts.vector(text)
        probs_C = self._smoothed(vector_d, softmax(self._logits(vector_d)))
        return dict(zip(self.labels, calibrated(probs_C, self._record).tolist(), strict=True))

    def _logits(self, vector_d: Any) -> Any:
        """What the linear model says, led by the similarity to the labels' names."""
        head = self._head
        logits_C = (vector_d - head["mean"]) @ head["matrix"] + head["bias"]
        if "names" in head:
            similarities_C = vector_d @ head["names"].T
            logits_C = logits_C + self._record["names_weight"] * (similarities_C - head["names_mean"])
        return logits_C

    def _smoothed(self, vector_d: Any, probs_C: Any) -> Any:
        """The probabilities mixed with those of the nearest texts of the campaign's pool."""
        number, weight = self._record["neighbours"], self._record["neighbour_weight"]
        if not number:
            return probs_C
        nearest = np.argsort(-(self._head["pool"] @ vector_d), kind="stable")[:number]
        around_C = self._head["pool_probabilities"][nearest].astype(np.float64).mean(axis=0)
        return (1 - weight) * probs_C + weight * around_C
