"""Probabilities of options by an exported head. Needs numpy and sentence-transformers, and nothing else."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from star_al.models.head_labeller.texts import Texts, calibrated, softmax, unit


class Labeller:
    """Chooses among a question's options with an exported head.

    Args:
        folder: The exported folder.
        device: Where the encoder runs, such as "cuda"; a GPU if there is one.
        base: The sentence encoder's folder or hub name, if it is not where it was.

    Attributes:
        labels: Empty, as each question has options of its own.
    """

    def __init__(self, folder: str | Path, device: str | None = None, base: str | None = None) -> None:
        folder = Path(folder)
        self._record: dict[str, Any] = json.loads((folder / "labeller.json").read_text(encoding="utf-8"))
        self._weights_d = load_file(folder / "head.safetensors")["weights"]
        self.labels: list[str] = self._record["labels"]
        self._texts = Texts(self._record, device, base)

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
        of_features = unit(features_d.astype(np.float64)) @ self._weights_d
        return float(of_features + self._record["similarity_weight"] * (option_d @ question_d))
