"""Nearest neighbours in the pool, and predictions smoothed over them.

A smoothed prediction is (1 − w) p(x) + w · the mean of p over x's nearest pool texts, where a labelled text counts with
its label. One round is enough: three or five, as label spreading has them (Zhou et al. 2004), changed the accuracy on
the development sets by less than 0.5 points, and one round treats pool texts and new ones alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from star_al.head.feature_scaling import unit_length
from star_al.types import Float32Array, IntArray

Int32Array: TypeAlias = NDArray[np.int32]

NEIGHBOURS = 20
"""Neighbours that a graph holds; predictions use the nearest 5, 10 or 20 of them."""

EXACT_LIMIT = 100_000
"""Up to this many texts exact search takes less than a minute; beyond, an approximate library pays."""

_QUERIES = 512  # texts that are compared at once
_COLUMNS = 16_384  # with this many others
_GROUP = 32  # columns whose maximum is looked at first


@dataclass(frozen=True)
class Neighbours:
    """The nearest pool texts of some texts, nearest first: rows of the pool and cosine similarities, (N, k)."""

    indices_N_k: Int32Array
    similarities_N_k: Float32Array

    def __len__(self) -> int:
        return len(self.indices_N_k)


class UnitVectors:
    """Embeddings at unit length, which a search may keep or not: those of a million texts take gigabytes.

    Args:
        embeddings_P_d: Raw embeddings.
    """

    def __init__(self, embeddings_P_d: Float32Array) -> None:
        self._embeddings_P_d = embeddings_P_d

    def __len__(self) -> int:
        return len(self._embeddings_P_d)

    @cached_property
    def kept_P_d(self) -> Float32Array:
        """All of them; they stay in memory."""
        return unit_length(self._embeddings_P_d)

    def rows(self, rows: slice = slice(None)) -> Float32Array:
        """Some or all of them, of which nothing is kept."""
        kept: Float32Array | None = self.__dict__.get("kept_P_d")
        return unit_length(self._embeddings_P_d[rows]) if kept is None else kept[rows]


NeighbourGraph: TypeAlias = Neighbours
Search: TypeAlias = Callable[[Float32Array, UnitVectors, int], Neighbours]
"""Searches, for queries (N, d) of unit length, the k nearest of P base texts by the inner product."""


def exact_search(queries_N_d: Float32Array, base: UnitVectors, k: int) -> Neighbours:
    """Search by comparing all pairs, in blocks.

    Args:
        queries_N_d: Queries at unit length.
        base: Base texts.
        k: Neighbours of each query, at most P.
    """
    base_P_d = base.kept_P_d
    indices_N_k = np.empty((len(queries_N_d), k), dtype=np.int32)
    similarities_N_k = np.empty((len(queries_N_d), k), dtype=np.float32)

    def search_block(first: int) -> None:
        block = slice(first, first + _QUERIES)
        indices_N_k[block], similarities_N_k[block] = _nearest(queries_N_d[block], base_P_d, k)

    # Blocks run side by side, each on one thread: so the order of sums does not depend on the number of threads, and
    # the partitions, which take a third of the time, do not leave the other cores idle.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(search_block, range(0, len(queries_N_d), _QUERIES)))
    return Neighbours(indices_N_k, similarities_N_k)


def _nearest(queries_M_d: Float32Array, base_P_d: Float32Array, k: int) -> tuple[Int32Array, Float32Array]:
    found: list[Int32Array] = []
    near: list[Float32Array] = []
    for first in range(0, len(base_P_d), _COLUMNS):
        similarities = queries_M_d @ base_P_d[first : first + _COLUMNS].T
        top = _largest(similarities, k)
        near.append(np.take_along_axis(similarities, top, axis=1))
        found.append((top + first).astype(np.int32))
    indices, similarities = np.concatenate(found, axis=1), np.concatenate(near, axis=1)
    order = np.lexsort((indices, -similarities), axis=1)[:, :k]
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def _largest(values_M_B: Float32Array, k: int) -> IntArray:
    """Return the columns of the k largest values of each row, in any order.

    The k largest values lie in the k groups with the largest maxima. Looking for groups first leaves little to
    partition: comparing 100,000 texts takes a third of the time.
    """
    columns = values_M_B.shape[1]
    groups = columns // _GROUP
    if columns % _GROUP or groups <= k:
        return np.argpartition(values_M_B, columns - min(k, columns), axis=1)[:, -min(k, columns) :]
    maxima = values_M_B.reshape(-1, _GROUP, groups).max(axis=1)  # column j belongs to group j mod groups
    best = np.argpartition(maxima, groups - k, axis=1)[:, -k:]
    candidates = (best[:, :, None] + groups * np.arange(_GROUP)).reshape(len(values_M_B), -1)
    of_candidates = np.take_along_axis(values_M_B, candidates, axis=1)
    chosen = np.argpartition(of_candidates, candidates.shape[1] - k, axis=1)[:, -k:]
    return np.take_along_axis(candidates, chosen, axis=1)


def neighbour_graph(
    embeddings_P_d: Float32Array, k: int = NEIGHBOURS, search: Search = exact_search
) -> NeighbourGraph:
    """Return the nearest neighbours of each pool text among the others.

    Args:
        embeddings_P_d: Raw embeddings.
        k: Neighbours of each text; fewer if the pool is smaller.
        search: How to search.
    """
    base = UnitVectors(embeddings_P_d)
    k = min(k, len(base) - 1)
    if k < 1:
        return Neighbours(np.empty((len(base), 0), np.int32), np.empty((len(base), 0), np.float32))
    return _without_itself(search(base.kept_P_d, base, k + 1))


def _without_itself(found: Neighbours) -> Neighbours:
    """Drop each text from its own neighbours; among many equal texts it may be missing, then the last goes."""
    itself = found.indices_N_k == np.arange(len(found), dtype=np.int32)[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(found), found.indices_N_k.shape[1] - 1)
    return Neighbours(
        found.indices_N_k[~itself].reshape(shape), found.similarities_N_k[~itself].reshape(shape)
    )


def neighbour_mean(probs_P_C: Float32Array, indices_N_k: NDArray[np.integer]) -> Float32Array:
    """Return the mean of the rows of ``probs_P_C`` over each text's neighbours, (N, C)."""
    total = np.zeros((len(indices_N_k), probs_P_C.shape[1]), dtype=np.float32)
    for column in range(indices_N_k.shape[1]):
        total += probs_P_C[indices_N_k[:, column]]
    return total / np.float32(indices_N_k.shape[1])


def save_graph(graph: NeighbourGraph, path: Path) -> None:
    """Write a graph; the same graph writes the same bytes."""
    from safetensors.numpy import save_file

    save_file({"indices": graph.indices_N_k, "similarities": graph.similarities_N_k}, path)


def load_graph(path: Path) -> NeighbourGraph:
    """Read which texts are near from a file of ``save_graph``, not how near: of a million texts, that takes 80 MB."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        indices_N_k = file.get_tensor("indices")
    return Neighbours(indices_N_k, np.empty((len(indices_N_k), 0), np.float32))
