"""A head for texts with any number of labels: one head a label, which tells the texts that have it from the others.

Each is fitted, tempered and sampled like a head of two labels (``fit_head``), so that a rare label may have another
penalty and another temperature than a frequent one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_al.head.fit import fit_head
from star_al.head.fitted_head import FittedHead, head_from_parts, parts_of
from star_al.head.head_files import read_parts, write_parts
from star_al.head.inputs import LABEL_NAMES, Examples, HeadOptions, PoolTexts, TextFeatures
from star_al.head.neighbours import Search, exact_search
from star_al.head.predictor import HeadPredictor
from star_al.types import BoolArray, FloatArray, IntArray, JsonObject

VERSION = 1
KIND = "label_sets"


@dataclass(frozen=True)
class FittedLabelSetHead:
    """A head for each label, in the task's order; column 1 of each stands for having the label."""

    heads: tuple[FittedHead, ...]

    def save(self, folder: Path) -> None:
        """Write the heads; the same heads write the same bytes.

        Raises:
            StoreError: The folder cannot be written.
        """
        parts = [parts_of(head) for head in self.heads]
        arrays: dict[str, NDArray[Any]] = {
            f"{place}/{name}": array for place, (own, _) in enumerate(parts) for name, array in own.items()
        }
        rest: JsonObject = {"version": VERSION, "kind": KIND, "heads": [each for _, each in parts]}
        write_parts(folder, arrays, rest)

    @classmethod
    def load(cls, folder: Path) -> FittedLabelSetHead:
        """Read the heads.

        Raises:
            ModelError: A file is missing or damaged.
        """
        return read_parts(folder, _from_parts)


def _from_parts(arrays: dict[str, NDArray[Any]], rest: dict[str, Any]) -> FittedLabelSetHead:
    if rest["version"] != VERSION or rest["kind"] != KIND:
        raise ValueError(f"version {rest['version']} of kind {rest['kind']}")
    owned: list[dict[str, NDArray[Any]]] = [{} for _ in rest["heads"]]
    for key, array in arrays.items():
        place, _, name = key.partition("/")
        owned[int(place)][name] = array
    return FittedLabelSetHead(
        tuple(head_from_parts(own, each) for own, each in zip(owned, rest["heads"], strict=True))
    )


def fit_label_set_head(
    pool: PoolTexts, rows_n: IntArray, has_n_L: BoolArray, options: HeadOptions
) -> FittedLabelSetHead:
    """Fit a head for each label. The same arguments give the same heads, whatever the number of threads.

    Args:
        pool: All texts of the pool, with an offset a label if names guide the heads.
        rows_n: Which text each example is of.
        has_n_L: Which labels it has.
        options: As for ``fit_head``; a label has no prototypes, as there are none of not having it.
    """
    options = replace(options, prototypes=False)
    return FittedLabelSetHead(
        tuple(
            fit_head(pool_of(pool, place), Examples(rows_n, has_n.astype(np.int64)), 2, options)
            for place, has_n in enumerate(has_n_L.T)
        )
    )


def pool_of(pool: PoolTexts, label: int) -> PoolTexts:
    """Return a pool as the head of one label reads it; what was computed from its features is shared."""
    own = PoolTexts(pool.features, _offsets_of(pool, label), pool.graph)
    own.__dict__["kept"] = pool.kept  # scalings and scaled features are the same for all labels
    return own


def _texts_of(texts: TextFeatures, label: int) -> TextFeatures:
    return TextFeatures(texts.features, _offsets_of(texts, label))


def _offsets_of(texts: TextFeatures, label: int) -> dict[str, FloatArray]:
    """Return a label's similarity as an offset of having it."""
    return {
        name: np.column_stack([np.zeros(len(texts)), values_N_L[:, label]])
        for name, values_N_L in texts.offsets.items()
        if name == LABEL_NAMES
    }


class LabelSetPredictor:
    """Predictions of the heads of all labels, as by ``HeadPredictor``.

    Args:
        head: The heads.
        pool: The pool that they were fitted on.
        search: How to search for the nearest pool texts of new texts.
    """

    def __init__(self, head: FittedLabelSetHead, pool: PoolTexts, search: Search = exact_search) -> None:
        self.head, self._pool, self._search = head, pool, search

    @cached_property
    def of_labels(self) -> tuple[HeadPredictor, ...]:
        """The predictors of the labels, in the task's order."""
        return tuple(
            HeadPredictor(head, pool_of(self._pool, place), self._search)
            for place, head in enumerate(self.head.heads)
        )

    def predict_pool(
        self, rows_N: IntArray | None = None, *, draws: range | None = None, seed: int = 0
    ) -> FloatArray:
        """Predict texts of the pool; arguments as for ``HeadPredictor``.

        Returns:
            Log-probabilities of not having and of having each label, (N, K, 2·L): for each label one after the other.
        """
        return np.concatenate(
            [
                predictor.predict_pool(rows_N, draws=draws, seed=_seed(seed, label))
                for label, predictor in enumerate(self.of_labels)
            ],
            axis=2,
        )

    def predict_new(self, texts: TextFeatures, *, draws: range | None = None, seed: int = 0) -> FloatArray:
        """Predict other texts; arguments and result as for ``predict_pool``."""
        return np.concatenate(
            [
                predictor.predict_new(_texts_of(texts, label), draws=draws, seed=_seed(seed, label))
                for label, predictor in enumerate(self.of_labels)
            ],
            axis=2,
        )


def _seed(seed: int, label: int) -> int:
    """Return the seed of a label's samples: those of different labels are drawn independently."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{label}".encode()).digest()[:8], "big") >> 1
