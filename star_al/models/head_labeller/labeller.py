"""Label probabilities of texts by an exported head. Needs numpy and sentence-transformers, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from star_al.models.windows import Windows

LOWEST = 1e-12
"""Floor of a probability, so that its logarithm is finite."""


class Labeller:
    """Labels texts with an exported head.

    Args:
        folder: The exported folder.
        device: Where the encoder runs, such as "cuda"; a GPU if there is one.
        base: The sentence encoder's folder or hub name, if it is not where it was.

    Attributes:
        labels: The names of the labels.
    """

    def __init__(self, folder: str | Path, device: str | None = None, base: str | None = None) -> None:
        folder = Path(folder)
        self._record: dict[str, Any] = json.loads((folder / "labeller.json").read_text(encoding="utf-8"))
        self._head = load_file(folder / "head.safetensors")
        self.labels: list[str] = self._record["labels"]
        self._encoder: Any = SentenceTransformer(
            base or self._record["base"],
            revision=None if base else self._record["revision"],
            device=device,
            model_kwargs={"dtype": getattr(torch, self._record["dtype"])},
        ).eval()
        while len(self._encoder) > 1 and isinstance(self._encoder[-1], Normalize):
            del self._encoder[-1]
        self._encoder.max_seq_length = self._record["max_tokens"]
        prompt = (self._encoder.prompts or {}).get(self._encoder.default_prompt_name or "") or ""
        self._windows = Windows(
            self._encoder.tokenizer, prompt, self._record["max_tokens"], self._record["most_windows"]
        )

    def __call__(self, text: str | Mapping[str, object]) -> dict[str, float]:
        """Return the calibrated probability of each label.

        Args:
            text: The text; a row with the campaign's columns if its texts are made of several.
        """
        vector_d = self._vector(text if isinstance(text, str) else self._filled(text))
        probs_C = self._smoothed(vector_d, _softmax(self._logits(vector_d)))
        logs_C = np.log(np.maximum(probs_C, LOWEST)) / self._record["head_temperature"]
        logs_C = logs_C - np.logaddexp.reduce(logs_C)
        calibrated_C = _softmax(logs_C / self._record["temperature"])
        return dict(zip(self.labels, calibrated_C.tolist(), strict=True))

    def _vector(self, text: str) -> Any:
        """The text as a vector of length 1: the mean over the windows of a long text."""
        vectors = self._encoder.encode(self._windows.split([text]).texts, convert_to_numpy=True)
        return _unit(vectors.astype(np.float64).mean(axis=0).astype(np.float32))

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

    def _filled(self, row: Mapping[str, object]) -> str:
        """The text that a row's columns make."""
        columns: dict[str, str] = self._record["columns"]
        field = re.compile("|".join(re.escape(f"{{{name}}}") for name in columns))

        def cell(match: re.Match[str]) -> str:
            value = row[columns[match[0][1:-1]]]
            return "" if value is None else str(value)

        return field.sub(cell, self._record["text"])


def _unit(vector_d: Any) -> Any:
    return vector_d / max(float(np.linalg.norm(vector_d)), 1e-12)


def _softmax(logits_C: Any) -> Any:
    exponents_C = np.exp(logits_C - logits_C.max())
    return exponents_C / exponents_C.sum()
