"""Features of texts on disk: computed once, memory-mapped, found by key.

A folder has two files. ``rows.bin`` holds the vectors, ``index.bin`` a record for each: the hash of its key,
whether the text was cut, and the checksum of both. Rows are appended in pages under a lock, vectors first, so a
record whose vector is incomplete cannot exist: what a killed process leaves is overwritten by the next page.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from star_al.models.encoded import BoolArray, Encoded
from star_al.models.key_index import KeyIndex, key_of
from star_al.models.limited_folder import LimitedFolder
from star_al.types import Float32Array

Positions: TypeAlias = npt.NDArray[np.intp]
Compute: TypeAlias = Callable[[Positions], Iterable[tuple[Positions, Encoded]]]
"""Given the positions of missing keys, yields them page by page with the vectors of their texts."""

PAGE = 2048
"""Texts that are encoded before they are kept: with fewer, more of the batches would be filled in part."""

_MAGIC = b"star_al features"
_VERSION = 1
_RECORD = np.dtype([("key", "V16"), ("checksum", "<u4"), ("cut", "<u4")])
_HEADER = np.dtype([("magic", "S16"), ("version", "<u4"), ("dimension", "<u4")])


class FeatureStore:
    """Vectors by key, in the folder of a model's fingerprint (see ``LimitedFolder``).

    Several processes may use a folder at once. A vector that was served is served with the same bytes from then
    on; one that is damaged is computed again.

    Args:
        root: Holds the folders of all models.
        fingerprint: Of the model and its settings, in hexadecimal digits.
        limit: Bytes that all folders in ``root`` may take.
        say: Called once with a message for the user when nothing more can be kept.
    """

    def __init__(self, root: Path, fingerprint: str, limit: int, say: Callable[[str], None]) -> None:
        self._folder = LimitedFolder(
            root, fingerprint[:16], limit, setting="head.cache_gb", what="Features of texts", say=say
        )
        self._index, self._vectors = self._folder.path / "index.bin", self._folder.path / "rows.bin"
        self._forget()

    def rows(self, keys: Sequence[str], compute: Compute) -> Encoded:
        """Return the vectors of keys, computing those that are missing.

        Args:
            keys: N keys; equal keys stand for equal texts.
            compute: Called once, unless all keys are known, with the position in ``keys`` of each missing one.

        Returns:
            The vectors; a view of the mapped file if they lie in it one after another.
        """
        known_N = self._find(keys)
        unkept: dict[str, tuple[Float32Array, bool]] = {}
        missing = _first_of_each(keys, np.flatnonzero(known_N < 0))
        if len(missing):
            for positions, encoded in compute(missing):
                self._append([keys[position] for position in positions], encoded, unkept)
            known_N = self._find(keys)
        if not unkept:
            return self._gather(known_N)
        return _merge(keys, known_N, self._gather(known_N[known_N >= 0]), unkept)

    # -- reading -------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._records: npt.NDArray[np.void] = np.empty(0, dtype=_RECORD)
        self._mapped: Float32Array = np.empty((0, 0), dtype=np.float32)
        self._rows = KeyIndex()
        self._sound = np.empty(0, dtype=bool)
        self._inode = -1

    def _find(self, keys: Sequence[str]) -> Positions:
        """Return the rows of keys, (N,); −1 for those that are missing or damaged."""
        self._refresh()
        known_N = self._rows.rows([key_of(key) for key in keys], self._records["key"])
        self._check(np.unique(known_N[known_N >= 0]))
        known_N[known_N >= 0] = np.where(self._sound[known_N[known_N >= 0]], known_N[known_N >= 0], -1)
        return known_N

    def _check(self, rows: Positions) -> None:
        """Compare rows that this process has not read before with their checksums."""
        new = rows[~self._sound[rows]].tolist()
        if not new:
            return
        content, size = self._mapped.data.cast("B"), self._mapped.shape[1] * 4
        cuts = self._records["cut"][new].tolist()
        checksums = [
            zlib.crc32(content[row * size : (row + 1) * size], cut)
            for row, cut in zip(new, cuts, strict=True)
        ]
        self._sound[new] = self._records["checksum"][new] == np.array(checksums, dtype=np.uint32)

    def _refresh(self) -> None:
        """Take in what was appended since, by this process or by others."""
        try:
            with self._index.open("rb") as index:
                inode = os.fstat(index.fileno()).st_ino
                if inode != self._inode:
                    self._forget()
                    self._inode = inode
                dimension = _dimension(index.read(_HEADER.itemsize))
                n = min(
                    (os.fstat(index.fileno()).st_size - _HEADER.itemsize) // _RECORD.itemsize,
                    self._vectors.stat().st_size // (4 * dimension),
                )
                if n == len(self._records):
                    return
            records = np.memmap(self._index, _RECORD, mode="r", offset=_HEADER.itemsize, shape=(n,))
            mapped = np.memmap(self._vectors, dtype=np.float32, mode="r", shape=(n, dimension))
        except (OSError, ValueError):  # no files yet, or damaged ones
            self._forget()
            return
        if n < len(self._records):  # other files than before
            self._rows, self._sound = KeyIndex(), np.empty(0, dtype=bool)
        self._sound = np.concatenate([self._sound, np.zeros(n - len(self._sound), dtype=bool)])
        # The class memmap makes each access slower.
        self._records, self._mapped = records.view(np.ndarray), mapped.view(np.ndarray)
        self._rows.extend(self._records["key"])

    def _gather(self, rows_N: Positions) -> Encoded:
        cut_N = self._records["cut"][rows_N].astype(bool)
        if len(rows_N) and (np.diff(rows_N) == 1).all():
            return Encoded(self._mapped[rows_N[0] : rows_N[-1] + 1], cut_N)
        return Encoded(np.asarray(self._mapped[rows_N]), cut_N)

    # -- writing -------------------------------------------------------------------------------------------

    def _append(
        self, keys: Sequence[str], encoded: Encoded, unkept: dict[str, tuple[Float32Array, bool]]
    ) -> None:
        """Keep a page; what cannot be kept goes into ``unkept``."""
        vectors_N_d = np.ascontiguousarray(encoded.vectors_N_d, dtype="<f4")
        size = vectors_N_d.nbytes + len(keys) * _RECORD.itemsize
        if self._folder.has_room(size):
            try:
                with FileLock(self._folder.path / "lock"):
                    self._write(keys, vectors_N_d, encoded.cut_N)
            except OSError as exc:
                self._folder.give_up(exc)
            else:
                self._folder.wrote(size)
                return
        for key, vector, cut in zip(keys, vectors_N_d, encoded.cut_N, strict=True):
            unkept[key] = vector, bool(cut)

    def _write(self, keys: Sequence[str], vectors_N_d: Float32Array, cut_N: BoolArray) -> None:
        """Append the rows of keys that no other process has written meanwhile, and replace damaged ones."""
        known_N = self._find(keys)
        records = np.empty(len(keys), dtype=_RECORD)
        records["key"] = [key_of(key) for key in keys]
        records["cut"] = cut_N
        cuts = records["cut"].tolist()
        records["checksum"] = [zlib.crc32(row.data, cut) for row, cut in zip(vectors_N_d, cuts, strict=True)]
        if not len(self._records) or self._mapped.shape[1] != vectors_N_d.shape[1]:
            self._forget()
            self._begin(vectors_N_d.shape[1])
            known_N[:] = -1
        written_N = self._rows.rows(records["key"].tolist(), self._records["key"])
        for position in np.flatnonzero((written_N >= 0) & (known_N < 0)):
            one = slice(position, position + 1)
            self._write_at(int(written_N[position]), vectors_N_d[one], records[one])
        new = written_N < 0
        if new.any():
            self._write_at(len(self._records), vectors_N_d[new], records[new])
        if not new.all():
            self._forget()  # records were replaced

    def _begin(self, dimension: int) -> None:
        """Start new files, in place of damaged ones if there are any: another process may have mapped those."""
        self._vectors.unlink(missing_ok=True)
        self._vectors.touch()
        header = np.array([(_MAGIC, _VERSION, dimension)], dtype=_HEADER)
        temporary = self._index.with_suffix(".tmp")
        temporary.write_bytes(header.tobytes())
        temporary.replace(self._index)

    def _write_at(self, row: int, vectors_N_d: Float32Array, records: npt.NDArray[np.void]) -> None:
        _overwrite(self._vectors, row * vectors_N_d.shape[1] * 4, vectors_N_d.tobytes())
        _overwrite(self._index, _HEADER.itemsize + row * _RECORD.itemsize, records.tobytes())


def paged(encode: Callable[[Positions], Encoded], size: int = PAGE) -> Compute:
    """Return the computation that encodes missing texts in pages, each of which is kept as it comes.

    Args:
        encode: Encodes the texts at some positions of the keys.
        size: Texts of a page.
    """

    def compute(missing: Positions) -> Iterator[tuple[Positions, Encoded]]:
        for start in range(0, len(missing), size):
            page = missing[start : start + size]
            yield page, encode(page)

    return compute


def text_key(text: str) -> str:
    """Return the key of a text that has no item id, such as the name of a label."""
    return f"text/{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _dimension(header: bytes) -> int:
    """Return the length of the vectors.

    Raises:
        ValueError: It is not the header of an index that this version reads.
    """
    if len(header) < _HEADER.itemsize:
        raise ValueError("not an index of features")
    magic, version, dimension = np.frombuffer(header, dtype=_HEADER)[0].item()
    if (magic, version) != (_MAGIC, _VERSION) or not dimension:
        raise ValueError("not an index of features")
    return int(dimension)


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def _first_of_each(keys: Sequence[str], positions: Positions) -> Positions:
    """Return the first position of each different key among some positions."""
    first: dict[str, int] = {}
    for position in positions:
        first.setdefault(keys[position], int(position))
    return np.array(list(first.values()), dtype=np.intp)


def _merge(
    keys: Sequence[str],
    known_N: Positions,
    kept: Encoded,
    unkept: dict[str, tuple[Float32Array, bool]],
) -> Encoded:
    """Join rows from the disk with rows that could not be kept there."""
    dimension = len(next(iter(unkept.values()))[0])
    vectors_N_d, cut_N = np.empty((len(keys), dimension), dtype=np.float32), np.empty(len(keys), dtype=bool)
    on_disk = known_N >= 0
    if on_disk.any():
        vectors_N_d[on_disk], cut_N[on_disk] = kept.vectors_N_d, kept.cut_N
    for position in np.flatnonzero(~on_disk):
        vectors_N_d[position], cut_N[position] = unkept[keys[position]]
    return Encoded(vectors_N_d, cut_N)
