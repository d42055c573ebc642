"""Probabilities of options by an exported head. Needs numpy and sentence-transformers, and nothing else."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from star_al.models.head_labeller.exported import ExportedHead
from star_al.models.head_labeller.texts import calibrated, softmax, unit


class Labeller(ExportedHead):
    """Chooses among a question's options with an exported head."""

    def __call__(self, text: str | Mapping[str, object], options: Sequence[str]) -> dict[str, float]:
        """Return the calibrated probability of each option's letter.

        Args:
            text: The question; a row with the campaign's columns if its texts are made of several.
            options: Its options.

        Raises:
            ValueError: There are no options, or more than letters.
        """
        if not 0 < len(options) <= len(string.ascii_uppercase):
            raise ValueError(f"give 1 to {len(string.ascii_uppercase)} options, not {len(options)}")
        question_d = self._texts.vector(text)
        logits_C = np.array([self._logit(question_d, self._texts.vector(option)) for option in options])
        probs_C = calibrated(softmax(logits_C), self._record)
        return dict(zip(string.ascii_uppercase, probs_C.tolist(), strict=False))

    def _logit(self, question_d: Any, option_d: Any) -> float:
        """What the linear model says of an option, led by its similarity to the question."""
        features_d = np.concatenate([option_d, unit(np.abs(option_d - question_d))])
        of_features = unit(features_d.astype(np.float64)) @ self._head["weights"]
        return float(of_features + self._record["similarity_weight"] * (option_d @ question_d))
