"""What the labels' names tell: similarities of texts and names, predictions without labels, and a check of the names.

The name is put as a question ("card arrival?"). That made it closer to what people ask than the bare name: with MiniLM
and cosine similarity 63 % of banking77 and 55.5 % of hwu64 are right, 62 % and 54 % with the bare name. Templates with
English words, such as "this is about …", were worth up to two points more on one set and as much less on another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from star_al.head.feature_scaling import unit_length
from star_al.head.inputs import LABEL_NAMES
from star_al.head.selection import DEFAULT_OFFSET_WEIGHTS
from star_al.types import Float32Array, FloatArray

TELLING = 0.54
"""Lowest spread of the similarities, relative to that between texts, at which names tell the encoder something.

With MiniLM: banking77 0.82, hwu64 0.81, BBC 0.59; ham and spam 0.49; names of another subject, abbreviations and
numbers 0.1 to 0.47.
"""

_PAIRS = 4000  # pairs of texts whose similarity is compared
_NUMBERED = re.compile(
    r"(label|class|category|cat|type|option|group|cluster|topic|tag)?[\W_]*(\d+|[a-z])", re.IGNORECASE
)


def plain_name(name: str) -> str:
    """Return a label's name as words: ``card_payment-notRecognised`` is "card payment not Recognised"."""
    words = re.sub(r"[_\-/.:|+]+", " ", name)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return " ".join(words.split()) or name


def name_text(name: str, description: str | None = None) -> str:
    """Return the text to embed for a label: its description, or its name as a question."""
    return description.strip() if description and description.strip() else f"{plain_name(name)}?"


@dataclass(frozen=True)
class LabelNames:
    """Embeddings of the labels' texts, (C, d), of any length."""

    embeddings_C_d: Float32Array

    def similarities(self, embeddings_N_d: Float32Array) -> FloatArray:
        """Return the cosine similarity of each text and each label, (N, C)."""
        similarities_N_C = unit_length(embeddings_N_d) @ unit_length(self.embeddings_C_d).T
        return similarities_N_C.astype(np.float64)


def zero_shot(similarities_N_C: FloatArray) -> FloatArray:
    """Predict texts by themselves, without labels and pool: softmax of the scaled similarities.

    The scale is fixed; 15 to 20 gave the highest likelihood on banking77 and hwu64. Where the pool is known, a head
    that was fitted to no labels predicts better.

    Args:
        similarities_N_C: Of ``LabelNames``.

    Returns:
        Log-probabilities (N, C).
    """
    log_probs_N_C: FloatArray = log_softmax(DEFAULT_OFFSET_WEIGHTS[LABEL_NAMES] * similarities_N_C, axis=1)
    return log_probs_N_C


@dataclass(frozen=True)
class NameCheck:
    """Whether names tell the encoder something.

    Attributes:
        spread: How much the similarities of different names differ over the pool, relative to those of texts.
        tell_nothing: True if the names as a whole say nothing about the texts.
        suspects: Columns of names that are numbers or single letters.
    """

    spread: float
    tell_nothing: bool
    suspects: tuple[int, ...]


def check_names(
    names: Sequence[str], similarities_P_C: FloatArray, embeddings_P_d: Float32Array
) -> NameCheck:
    """Tell whether names say something about the texts of a pool. It needs no labels.

    A name that says something is close to some texts and far from others, and differs in that from the other names.

    Args:
        names: The labels' names; an empty one where a description stands in for it.
        similarities_P_C: Of some pool texts and all names; a few hundred texts are enough.
        embeddings_P_d: Embeddings of the same texts.
    """
    between_texts = _spread_between(embeddings_P_d)
    centred_P_C = similarities_P_C - similarities_P_C.mean(axis=0)
    centred_P_C -= centred_P_C.mean(axis=1, keepdims=True)
    spread = float(centred_P_C.std(axis=0).mean() / max(between_texts, 1e-12))
    suspects = tuple(column for column, name in enumerate(names) if _NUMBERED.fullmatch(name.strip()))
    return NameCheck(spread, spread < TELLING, suspects)


def _spread_between(embeddings_P_d: Float32Array) -> float:
    """Return the standard deviation of the similarity of two different texts."""
    unit_P_d = unit_length(embeddings_P_d)
    left, right = np.random.default_rng(0).integers(0, len(unit_P_d), size=(2, _PAIRS))
    different = left != right
    if not different.any():
        return 0.0
    return float((unit_P_d[left[different]] * unit_P_d[right[different]]).sum(axis=1).std())
