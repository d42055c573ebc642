"""How an exported head reads texts: with its sentence encoder, as in the campaign."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from star_al.models.windows import Windows

LOWEST = 1e-12
"""Floor of a probability, so that its logarithm is finite."""


class Texts:
    """Reads texts.

    Args:
        record: What ``labeller.json`` says.
        device: Where the encoder runs; None for a GPU if there is one.
        base: The sentence encoder's folder or hub name, if it is not where it was.
    """

    def __init__(self, record: Mapping[str, Any], device: str | None, base: str | None) -> None:
        self._record = record
        self._encoder: Any = SentenceTransformer(
            base or record["base"],
            revision=None if base else record["revision"],
            device=device,
            model_kwargs={"dtype": getattr(torch, record["dtype"])},
        ).eval()
        while len(self._encoder) > 1 and isinstance(self._encoder[-1], Normalize):
            del self._encoder[-1]
        self._encoder.max_seq_length = record["max_tokens"]
        prompt = (self._encoder.prompts or {}).get(self._encoder.default_prompt_name or "") or ""
        self._windows = Windows(self._encoder.tokenizer, prompt, record["max_tokens"], record["most_windows"])

    def vector(self, text: str | Mapping[str, object]) -> Any:
        """Return a text as a vector of length 1: the mean over the windows of a long text.

        Args:
            text: The text; a row with the campaign's columns if its texts are made of several.
        """
        windows = self._windows.split([text if isinstance(text, str) else self._filled(text)])
        vectors = self._encoder.encode(windows.texts, convert_to_numpy=True)
        return unit(vectors.astype(np.float64).mean(axis=0).astype(np.float32))

    def _filled(self, row: Mapping[str, object]) -> str:
        """The text that a row's columns make."""
        columns: dict[str, str] = self._record["columns"]
        field = re.compile("|".join(re.escape(f"{{{name}}}") for name in columns))

        def cell(match: re.Match[str]) -> str:
            value = row[columns[match[0][1:-1]]]
            return "" if value is None else str(value)

        return field.sub(cell, self._record["text"])


def unit(vector_d: Any) -> Any:
    """Scale a vector to length 1."""
    return vector_d / max(float(np.linalg.norm(vector_d)), LOWEST)


def softmax(logits_C: Any) -> Any:
    """Return the probabilities of logits."""
    exponents_C = np.exp(logits_C - logits_C.max())
    return exponents_C / exponents_C.sum()


def calibrated(probs_C: Any, record: Mapping[str, Any]) -> Any:
    """Scale probabilities by the head's own temperature, then by the campaign's."""
    logs_C = np.log(np.maximum(probs_C, LOWEST)) / record["head_temperature"]
    logs_C = logs_C - np.logaddexp.reduce(logs_C)
    return softmax(logs_C / record["temperature"])
