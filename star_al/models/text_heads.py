"""Heads for texts with labels of the task: how they are loaded, and asked about texts of the pool and others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from star_al.head import FittedHead, HeadPredictor, TextFeatures
from star_al.models.head_pool import HeadPool
from star_al.models.head_texts import TextReader, loader_of, some_of
from star_al.models.opened_heads import OpenedHead, PoolPredictor
from star_al.ports import ids_of
from star_al.types import FloatArray, Item

TextHead: TypeAlias = OpenedHead[HeadPool, HeadPredictor]

_ROWS = 256  # texts that are not in the pool and are predicted at once


def load_head(folder: Path, pool: HeadPool) -> HeadPredictor:
    """Load the head in a folder, which was trained on a pool.

    Raises:
        ModelError: It is damaged.
    """
    return HeadPredictor(FittedHead.load(folder), pool.texts, pool.search)


class NewTextPredictor(PoolPredictor, Protocol):
    """Predicts texts of a pool, and others by what is read of them."""

    def predict_new(self, texts: TextFeatures, *, draws: range | None = None, seed: int = 0) -> FloatArray:
        """Log-probabilities (N, K, C)."""


P = TypeVar("P", bound=NewTextPredictor)


def predict_texts(
    head: OpenedHead[HeadPool, P],
    reader: TextReader,
    items: Sequence[Item],
    draws: range | None = None,
    seed: int = 0,
) -> FloatArray:
    """Predict texts of the pool and others.

    Args:
        head: The head.
        reader: Reads the texts that are not in the pool.
        items: The texts.
        draws: Numbers of the posterior's samples; None for the fitted weights.
        seed: With a sample's number it decides the sample.

    Returns:
        Log-probabilities (N, K, C).
    """

    def predict_others(item_ids: Sequence[str]) -> FloatArray:
        texts, found = reader.texts(item_ids, loader_of(items)), []
        # Blocks of one size, so that no prediction depends on what is predicted with it.
        for first in range(0, len(texts), _ROWS):
            rows = list(range(first, min(first + _ROWS, len(texts))))
            padded = rows + rows[-1:] * (_ROWS - len(rows))
            block = head.predictor.predict_new(some_of(texts, padded), draws=draws, seed=seed)
            found.append(block[: len(rows)])
        return np.concatenate(found)

    return head.predict(ids_of(items), draws, seed, predict_others)
