"""Full scores of a round as Parquet: predictions and uncertainties of every candidate.

Columns: ``item_id``; ``log_probs``, a float32 list of K·C values, sample by sample, −inf kept;
``base_uncertainty`` and ``adapted_uncertainty``, float64, only where they were computed. K and C are in the
file's metadata. Files are written aside and renamed, and their pages carry checksums.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from star_al.errors import StoreError
from star_al.types import Categorical, FloatArray

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

GROUP_BYTES = 8 << 20
"""Log-probabilities in one row group, which is what reading and merging hold in memory."""


class _Page(NamedTuple):
    """Rows of a score file."""

    item_ids: tuple[str, ...]
    log_probs_N_K_C: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    base_N: FloatArray | None
    adapted_N: FloatArray | None


def write_shard(
    path: Path,
    item_ids: Sequence[str],
    log_probs_N_K_C: FloatArray,
    base_N: FloatArray | None = None,
    adapted_N: FloatArray | None = None,
) -> None:
    """Write one shard. Log-probabilities are natural logs, uncertainties as their measure gives them.

    Raises:
        ValueError: lengths differ. StoreError: the file cannot be written.
    """
    page = _Page(tuple(item_ids), log_probs_N_K_C.astype(np.float32), base_N, adapted_N)
    lengths = {len(part) for part in page if part is not None}
    if log_probs_N_K_C.ndim != 3 or len(lengths) != 1:
        raise ValueError(
            f"a shard needs (N, K, C) log-probabilities and equal lengths, got {sorted(lengths)}"
        )
    _write_aside(path, lambda aside: _write(aside, [page], *log_probs_N_K_C.shape[1:]))


def concatenate(shards: Sequence[Path], folder: Path) -> str:
    """Merge shards, in order, into ``folder/<sha256>.parquet``; the hash.

    The bytes depend on the rows alone, not on how they were cut into shards. Rows of shards with fewer
    labels are padded with −inf. Memory is bounded by ``GROUP_BYTES``.

    Raises:
        StoreError: there are no shards, they do not fit together, or a file cannot be read or written.
    """
    shapes = [_shape(shard) for shard in shards]
    if not shapes or len({shape[0] for shape in shapes}) != 1:
        raise StoreError(f"{folder}: {len(shapes)} score files cannot be merged; score the round again.")
    samples, labels = shapes[0][0], max(shape[1] for shape in shapes)
    name = f"{uuid.uuid4().hex}.parquet"

    def merge(aside: Path) -> None:
        _write(aside, _regroup(shards, samples, labels), samples, labels)

    _write_aside(folder / name, merge)
    with _translated(folder / name):
        sha256 = _file_hash(folder / name)
        os.replace(folder / name, folder / f"{sha256}.parquet")
    return sha256


def is_whole(path: Path, item_ids: Sequence[str] | None = None) -> bool:
    """Whether a score file is there, readable to its last byte, and holds these items (null: any)."""
    if not path.is_file():
        return False
    found: list[str] = []
    try:
        for page in _pages(path):
            found.extend(page.item_ids)
    except StoreError:
        return False
    return item_ids is None or found == list(item_ids)


def read_uncertainties(path: Path) -> tuple[tuple[str, ...], FloatArray | None, FloatArray | None]:
    """Item ids with base and adapted uncertainty (N,), null where the file has none.

    Raises:
        StoreError: the file cannot be read.
    """
    with _open(path) as file:
        columns = [name for name in file.schema_arrow.names if name != "log_probs"]
        table = file.read(columns=columns)
        return (
            tuple(table["item_id"].to_pylist()),
            _column(table, "base_uncertainty"),
            _column(table, "adapted_uncertainty"),
        )


def read_predictions(path: Path, item_ids: Sequence[str]) -> Categorical:
    """Predictions of some items, in the order of ``item_ids``.

    Raises:
        StoreError: the file cannot be read, or an item is not in it.
    """
    samples, labels = _shape(path)
    log_probs_N_K_C = np.full((len(item_ids), samples, labels), np.nan)
    position = {item_id: index for index, item_id in enumerate(item_ids)}
    for page in _pages(path):
        rows = [row for row, item_id in enumerate(page.item_ids) if item_id in position]
        log_probs_N_K_C[[position[page.item_ids[row]] for row in rows]] = page.log_probs_N_K_C[rows]
    missing = np.isnan(log_probs_N_K_C).any(axis=(1, 2))
    if missing.any():
        raise StoreError(
            f"{path}: has no scores of item {item_ids[int(missing.argmax())]}. Score the round again."
        )
    return Categorical(tuple(item_ids), log_probs_N_K_C)


def iter_predictions(path: Path) -> Iterator[Categorical]:
    """All predictions in the file's order, a row group at a time.

    Raises:
        StoreError: the file cannot be read.
    """
    for page in _pages(path):
        yield Categorical(page.item_ids, page.log_probs_N_K_C.astype(np.float64))


# -- reading -------------------------------------------------------------------------------------------


@contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise StoreError(f"{path}: the score file cannot be read ({reason}). Score the round again.") from exc


def _shape(path: Path) -> tuple[int, int]:
    """K and C."""
    with _open(path) as file:
        return _shape_of(file)


def _shape_of(file: pq.ParquetFile) -> tuple[int, int]:
    metadata = file.schema_arrow.metadata or {}
    return int(metadata[b"samples"]), int(metadata[b"labels"])


def _pages(path: Path) -> Iterator[_Page]:
    """The file's row groups."""
    with _open(path) as file:
        samples, labels = _shape_of(file)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            flat = table["log_probs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield _Page(
                tuple(table["item_id"].to_pylist()),
                flat.reshape(len(table), samples, labels),
                _column(table, "base_uncertainty"),
                _column(table, "adapted_uncertainty"),
            )


def _column(table: pa.Table, name: str) -> FloatArray | None:
    if name not in table.column_names:
        return None
    values: FloatArray = table[name].to_numpy()
    return values


# -- writing -------------------------------------------------------------------------------------------


def _write(path: Path, pages: Sequence[_Page] | Iterator[_Page], samples: int, labels: int) -> None:
    """Pages as row groups of one file; all of them have the columns of the first."""
    import pyarrow.parquet as pq

    tables = (_table(page, samples, labels) for page in pages)
    first = next(tables)
    with pq.ParquetWriter(
        path, first.schema, compression="zstd", use_dictionary=False, write_page_checksum=True
    ) as writer:
        writer.write_table(first, row_group_size=max(1, len(first)))
        for table in tables:
            writer.write_table(table, row_group_size=len(table))


def _table(page: _Page, samples: int, labels: int) -> pa.Table:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(page.log_probs_N_K_C).reshape(-1))
    columns = {
        "item_id": pa.array(page.item_ids, pa.string()),
        "log_probs": pa.FixedSizeListArray.from_arrays(flat, samples * labels),
    }
    if page.base_N is not None:
        columns["base_uncertainty"] = pa.array(page.base_N, pa.float64())
    if page.adapted_N is not None:
        columns["adapted_uncertainty"] = pa.array(page.adapted_N, pa.float64())
    return pa.table(columns, metadata={"samples": str(samples), "labels": str(labels)})


def _regroup(shards: Sequence[Path], samples: int, labels: int) -> Iterator[_Page]:
    """The rows of all shards in pages of one fixed size."""
    size = max(1, GROUP_BYTES // (4 * samples * labels))
    held: _Page | None = None
    for shard in shards:
        for page in _pages(shard):
            page = page._replace(log_probs_N_K_C=_pad(page.log_probs_N_K_C, labels))
            held = page if held is None else _join(shard, held, page)
            while len(held.item_ids) >= size:
                yield _cut(held, slice(0, size))
                held = _cut(held, slice(size, None))
    if held is not None and held.item_ids:
        yield held


def _join(shard: Path, left: _Page, right: _Page) -> _Page:
    def both(left_N: FloatArray | None, right_N: FloatArray | None) -> FloatArray | None:
        if left_N is None and right_N is None:
            return None
        if left_N is None or right_N is None:
            raise StoreError(f"{shard}: has other columns than the scores before it. Score the round again.")
        return np.concatenate([left_N, right_N])

    return _Page(
        left.item_ids + right.item_ids,
        np.concatenate([left.log_probs_N_K_C, right.log_probs_N_K_C]),
        both(left.base_N, right.base_N),
        both(left.adapted_N, right.adapted_N),
    )


def _cut(page: _Page, rows: slice) -> _Page:
    base_N, adapted_N = page.base_N, page.adapted_N
    return _Page(
        page.item_ids[rows],
        page.log_probs_N_K_C[rows],
        None if base_N is None else base_N[rows],
        None if adapted_N is None else adapted_N[rows],
    )


def _pad(
    log_probs_N_K_C: np.ndarray[tuple[int, ...], np.dtype[np.float32]], labels: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    missing = labels - log_probs_N_K_C.shape[2]
    return np.pad(log_probs_N_K_C, ((0, 0), (0, 0), (0, missing)), constant_values=-np.inf)


def _write_aside(path: Path, write: Callable[[Path], None]) -> None:
    """Call ``write`` with a path beside ``path``, and rename what it made; nothing is left of a failure."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with _translated(path):
        try:
            write(aside)
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(
            f"{path}: scores cannot be written ({exc.strerror or exc}). Check the folder and the disk."
        ) from exc


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
