"""Rows by key for millions of keys: 12 bytes a key beside the keys themselves, where a dict takes 160."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from star_al.types import IntArray

KeyArray: TypeAlias = npt.NDArray[np.void]
"""Keys of 16 bytes each, (N,)."""

KEY_BYTES = 16

_SMALL = 65_536
"""So many new keys are in a dict before they are sorted in among the others."""


class KeyIndex:
    """Finds the rows of random keys of 16 bytes, such as hashes.

    Rows are numbered in the order in which their keys are added. Keys are sorted by their first 8 bytes, by which
    hardly two of a million are the same; those few are in a dict of their own.
    """

    def __init__(self) -> None:
        self._size = 0
        self._recent: dict[bytes, int] = {}
        self._alike: dict[bytes, int] = {}
        self._prefixes = np.empty(0, dtype=np.uint64)
        self._rows = np.empty(0, dtype=np.uint32)

    def __len__(self) -> int:
        return self._size

    def extend(self, keys: KeyArray) -> None:
        """Add all keys that come after those that were added before.

        Args:
            keys: All keys, the known ones too.
        """
        known, self._size = self._size, len(keys)
        if len(self._recent) + len(keys) - known > max(_SMALL, len(self._rows) // 2):
            self._sort(keys)
        else:
            self._recent.update(zip(keys[known:].tolist(), range(known, len(keys)), strict=True))

    def rows(self, wanted: Sequence[bytes], keys: KeyArray) -> IntArray:
        """Return the row of each wanted key, (N,); −1 for those that are missing.

        Args:
            wanted: The keys to find.
            keys: All keys that were added.
        """
        rows_N = np.full(len(wanted), -1, dtype=np.int64)
        if len(self._rows) and len(wanted):
            wanted_N = np.frombuffer(b"".join(wanted), dtype=f"V{KEY_BYTES}")
            places = np.searchsorted(self._prefixes, _prefixes(wanted_N))
            found_N = self._rows[np.minimum(places, len(self._rows) - 1)].astype(np.int64)
            same_N = (_halves(keys[found_N]) == _halves(wanted_N)).all(axis=1)
            rows_N[same_N] = found_N[same_N]
        for n in np.flatnonzero(rows_N < 0):
            key = wanted[n]
            rows_N[n] = self._recent.get(key, self._alike.get(key, -1))
        return rows_N

    def _sort(self, keys: KeyArray) -> None:
        prefixes = _prefixes(keys)
        order = np.argsort(prefixes, kind="stable")
        prefixes = prefixes[order]
        twin = np.zeros(len(order), dtype=bool)
        twin[1:] = prefixes[1:] == prefixes[:-1]
        self._alike = {keys[row].tobytes(): int(row) for row in order[twin]}
        self._prefixes, self._rows = prefixes[~twin], order[~twin].astype(np.uint32)
        self._recent = {}


class RowsById:
    """The rows of a pool's texts by item id.

    Args:
        item_ids: The ids in the order of the rows.
    """

    def __init__(self, item_ids: Sequence[str]) -> None:
        self._keys = np.frombuffer(b"".join(map(key_of, item_ids)), dtype=f"V{KEY_BYTES}")
        self._index = KeyIndex()
        self._index.extend(self._keys)

    def __call__(self, item_ids: Sequence[str]) -> IntArray:
        """Return the rows of some texts, (N,); −1 for those that are not of the pool."""
        return self._index.rows(list(map(key_of, item_ids)), self._keys)


def key_of(text: str) -> bytes:
    """Return a key of 16 bytes for a text."""
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def _halves(keys: KeyArray) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)


def _prefixes(keys: KeyArray) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(_halves(keys)[:, 0])
