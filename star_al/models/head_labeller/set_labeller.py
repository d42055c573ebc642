"""Probabilities of any number of labels by exported heads. Needs numpy and sentence-transformers, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from star_al.models.head_labeller.exported import ExportedHead
from star_al.models.head_labeller.texts import LOWEST


class Labeller(ExportedHead):
    """Gives texts any number of labels with exported heads, one for each label."""

    def __call__(self, text: str | Mapping[str, object]) -> dict[str, float]:
        """Return the calibrated probability that the text has a label, for each label by itself.

        Args:
            text: The text; a row with the campaign's columns if its texts are made of several.
        """
        vector_d = self._texts.vector(text)
        probs_L = self._smoothed(vector_d, _sigmoid(self._logits(vector_d)))
        logits_L = np.log(np.maximum(probs_L, LOWEST)) - np.log(np.maximum(1.0 - probs_L, LOWEST))
        temperatures_L = np.array(self._record["head_temperature"]) * self._record["temperature"]
        return dict(zip(self.labels, _sigmoid(logits_L / temperatures_L).tolist(), strict=True))

    def choose(self, text: str | Mapping[str, object]) -> list[str]:
        """Return the labels that the text has more likely than not; empty if there is none.

        Args:
            text: As above.
        """
        return [label for label, probability in self(text).items() if probability > 0.5]

    def _logits(self, vector_d: Any) -> Any:
        """What the linear models say of having each label, led by the similarity to the labels' names."""
        heads = self._head
        logits_L = vector_d.astype(np.float64) @ heads["weights"] + heads["bias"]
        if "names" in heads:
            logits_L = logits_L + heads["names_weights"] * (vector_d @ heads["names"].T)
        return logits_L

    def _smoothed(self, vector_d: Any, probs_L: Any) -> Any:
        """The probabilities mixed with those of the nearest texts of the campaign's pool."""
        numbers, weights = self._record["neighbours_by_label"], self._record["neighbour_weights"]
        if not any(numbers):
            return probs_L
        nearest = np.argsort(-(self._head["pool"] @ vector_d), kind="stable")[: max(numbers)]
        around_n_L = self._head["pool_probabilities"][nearest].astype(np.float64)
        means_L = np.array([around_n_L[: number or 1, place].mean() for place, number in enumerate(numbers)])
        weights_L = np.where(np.array(numbers) > 0, weights, 0.0)
        return (1 - weights_L) * probs_L + weights_L * means_L


def _sigmoid(logits_L: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -logits_L))
