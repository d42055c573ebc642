"""Nearest neighbours in pools too large to compare all pairs, by faiss.

The texts are put into cells by k-means, and a query is compared with those of the nearest cells (inverted file,
``IndexIVFFlat``). Unlike graph indexes, it gives the same neighbours each time it is built.
"""

from __future__ import annotations

import hashlib
import importlib.util
from typing import Any

import numpy as np

from star_al.common.wording import count
from star_al.errors import ModelError
from star_al.head import EXACT_LIMIT, Neighbours, Search, UnitVectors, exact_search
from star_al.types import Float32Array

_TEXTS_PER_CELL = 400
_CELLS_READ = 8
"""Of the 5 nearest texts of 200,000, these cells hold 97 % (`docs/benchmarks.md`)."""

_SEED = 0
_ITERATIONS = 10
_POINTS_PER_CELL = 64  # texts that k-means looks at, for each cell
_QUERIES = 65_536  # at once: faiss gives indices of 8 bytes, which take more memory than what is kept


def search_for(n_texts: int) -> Search:
    """Return the search for a pool of this many texts: exact, or beyond ``EXACT_LIMIT`` approximate.

    Raises:
        ModelError: The pool is that large, and faiss is not installed.
    """
    if n_texts <= EXACT_LIMIT:
        return exact_search
    if importlib.util.find_spec("faiss") is None:
        raise ModelError(
            f"the pool has {count(n_texts, 'text')}, and the neighbours of more than {EXACT_LIMIT:,} are searched "
            "with faiss, which is not installed. Run: pip install 'star-al[neighbours]', or set head.neighbours: 0."
        )
    return ApproximateSearch()


class ApproximateSearch:
    """Implements ``star_al.head.Search``. The index of the last base is kept."""

    def __init__(self) -> None:
        self._base_key: str | None = None
        self._index: Any = None

    def __call__(self, queries_N_d: Float32Array, base: UnitVectors, k: int) -> Neighbours:
        """Return nearly the ``k`` nearest of ``base`` for each query; places that stay empty repeat the nearest."""
        index = self._index_of(base)
        indices_N_k = np.empty((len(queries_N_d), k), dtype=np.int32)
        similarities_N_k = np.empty((len(queries_N_d), k), dtype=np.float32)
        for first in range(0, len(queries_N_d), _QUERIES):
            block = slice(first, first + _QUERIES)
            queries_M_d = np.ascontiguousarray(queries_N_d[block], dtype=np.float32)
            similarities_M_k, indices_M_k = index.search(queries_M_d, k)
            empty_M_k = indices_M_k < 0  # the cells read hold fewer than k texts
            indices_N_k[block] = np.where(empty_M_k, indices_M_k[:, :1], indices_M_k)
            similarities_N_k[block] = np.where(empty_M_k, similarities_M_k[:, :1], similarities_M_k)
        return Neighbours(indices_N_k, similarities_N_k)

    def _index_of(self, base: UnitVectors) -> Any:
        key = _key(base)
        if key != self._base_key:
            self._index, self._base_key = _build(np.ascontiguousarray(base.rows(), dtype=np.float32)), key
        return self._index


def _build(base_P_d: Float32Array) -> Any:
    import faiss

    cells = max(1, len(base_P_d) // _TEXTS_PER_CELL)
    dimension = base_P_d.shape[1]
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = _SEED, _ITERATIONS, _POINTS_PER_CELL
    index.train(base_P_d)
    index.add(base_P_d)
    index.nprobe = _CELLS_READ
    return index


def _key(base: UnitVectors) -> str:
    """Return a hash of the base's size and of some of its rows."""
    some = base.rows(slice(None, None, max(1, len(base) // 256)))
    return hashlib.sha256(f"{len(base)} {some.shape}".encode() + some.tobytes()).hexdigest()
