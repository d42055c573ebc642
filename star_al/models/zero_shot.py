"""What a head predicts before it has labels: by the similarity of texts and the labels' names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from star_al.head import Examples, HeadOptions, HeadPredictor, fit_head, zero_shot
from star_al.models.head_pool import HeadPool
from star_al.models.head_texts import TextReader, loader_of
from star_al.models.text_heads import TextHead, predict_texts
from star_al.ports import Pool, ids_of
from star_al.types import FloatArray, Item

OVER_POOL = "prototypes"
"""What a round records whose labels have prototypes in the pool; those of earlier campaigns record something else."""


class ZeroShot:
    """Predicts without labels.

    Over a pool it is the prediction of a head that was fitted to no labels: names are moved to the texts that they fit,
    and texts are smoothed over their neighbours. That is right for 64 % of hwu64 and 68 % of banking77, where texts
    compared by themselves are right for 54 and 61 % (docs/methods.md).

    Args:
        reader: Reads texts and the labels' names.
        neighbours: Nearest texts to smooth over; None lets the head choose.
        read_pool: Reads a pool.
        over_pool: False in a campaign that began when each text was compared by itself.
    """

    def __init__(
        self,
        reader: TextReader,
        neighbours: int | None,
        read_pool: Callable[[Pool], HeadPool],
        *,
        over_pool: bool,
    ) -> None:
        self._reader, self._neighbours, self._read_pool = reader, neighbours, read_pool
        self.over_pool = over_pool
        self._head: TextHead | None = None

    @cached_property
    def key(self) -> str:
        """Hash of everything that predictions depend on besides the pool."""
        how = [f"zero-shot over {OVER_POOL}", self._neighbours] if self.over_pool else ["zero-shot", 1]
        parts = [*how, self._reader.encoder.fingerprint, self._reader.label_texts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def log_probs(self, items: Sequence[Item], pool: Pool | None = None) -> FloatArray:
        """Return log-probabilities (N, C); without a pool each text is compared by itself."""
        if pool is None or not self.over_pool:
            embeddings_N_d = self._reader.embeddings(ids_of(items), loader_of(items))
            return zero_shot(self._reader.name_similarities(embeddings_N_d))
        if self._head is None or self._head.pool.key != pool.key:
            self._head = self._untrained(self._read_pool(pool))
        return predict_texts(self._head, self._reader, items)[:, 0]

    def _untrained(self, pool: HeadPool) -> TextHead:
        """Return a head without labels."""
        none = np.zeros(0, dtype=np.int64)
        options = HeadOptions(features="encoder", neighbours=self._neighbours)
        head = fit_head(pool.texts, Examples(none, none), len(self._reader.label_texts), options)
        return TextHead(pool, HeadPredictor(head, pool.texts, pool.search))
