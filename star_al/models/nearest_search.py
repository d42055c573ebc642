"""Search for the nearest pool texts of new texts, and remember what was found.

A test set is predicted every round, and its nearest pool texts stay the same as long as the pool does.
"""

from __future__ import annotations

import hashlib

import numpy as np

from star_al.head import NEIGHBOURS, Neighbours, Search, UnitVectors, exact_search
from star_al.types import Float32Array

_ROWS = 256  # queries in each call of the search: in matrix products of other shapes, sums differ in their last bits
_REMEMBERED = 200_000  # queries; beyond, what is found is not remembered


class RememberingSearch:
    """Implements ``star_al.head.Search`` for one pool. What it finds does not depend on what is searched together.

    Args:
        search: Searches.
    """

    def __init__(self, search: Search = exact_search) -> None:
        self._search = search
        self._found: dict[bytes, Neighbours] = {}

    def __call__(self, queries_N_d: Float32Array, base: UnitVectors, k: int) -> Neighbours:
        """Return the nearest ``k`` texts of ``base`` for each query."""
        width = min(max(k, NEIGHBOURS), len(base))
        keys = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in queries_N_d]
        missing = [
            n
            for n, key in enumerate(keys)
            if key not in self._found or self._found[key].indices_N_k.shape[1] < k
        ]
        found = self._found if len(self._found) + len(missing) <= _REMEMBERED else dict(self._found)
        for start in range(0, len(missing), _ROWS):
            places = missing[start : start + _ROWS]
            padded = places + places[-1:] * (_ROWS - len(places))
            near = self._search(queries_N_d[padded], base, width)
            for row, place in enumerate(places):
                of_row = slice(row, row + 1)
                found[keys[place]] = Neighbours(near.indices_N_k[of_row], near.similarities_N_k[of_row])
        if not keys:
            return Neighbours(np.empty((0, k), dtype=np.int32), np.empty((0, k), dtype=np.float32))
        return Neighbours(
            np.concatenate([found[key].indices_N_k[:, :k] for key in keys]),
            np.concatenate([found[key].similarities_N_k[:, :k] for key in keys]),
        )
