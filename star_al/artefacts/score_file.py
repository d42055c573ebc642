"""Full scores of a round as Parquet: predictions and uncertainties of every candidate.

Columns: ``item_id``; ``log_probs``, a float32 list of K·C values, sample by sample, with −inf for labels and
NaN for samples that the item does not have; and those of ``Scores`` that were computed. K and C are in the
file's metadata. The pages of a file carry checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from star_al.common.files import aside, disk_errors, publish, replacing, sha256_of
from star_al.errors import StoreError
from star_al.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

GROUP_BYTES = 8 << 20
"""Bytes of log-probabilities in one row group; reading and merging hold about one group in memory."""

_Float32Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Scores(NamedTuple):
    """Scores of N items, named as their columns; None for those that were not computed.

    Attributes:
        base_uncertainty: Uncertainty of the base model: predictive entropy, in nats.
        adapted_uncertainty: Uncertainty of the adapted model, by the campaign's measure.
        aleatoric: Part of the entropy of the adapted model's predictive mean, in nats.
        epistemic: The other part.
        samples: How many posterior samples each item got.
        head_uncertainty: Uncertainty of a head that has a part in the blend.
    """

    base_uncertainty: FloatArray | None = None
    adapted_uncertainty: FloatArray | None = None
    aleatoric: FloatArray | None = None
    epistemic: FloatArray | None = None
    samples: IntArray | None = None
    head_uncertainty: FloatArray | None = None


class _Page(NamedTuple):
    """Rows of a score file."""

    item_ids: tuple[str, ...]
    log_probs_N_K_C: _Float32Array
    scores: Scores


def write_shard(
    path: Path, item_ids: Sequence[str], log_probs_N_K_C: FloatArray, scores: Scores | None = None
) -> None:
    """Write a score file.

    Args:
        path: The file.
        item_ids: Its N items.
        log_probs_N_K_C: Natural logs of their predicted probabilities.
        scores: Their scores.

    Raises:
        ValueError: Lengths differ.
        StoreError: The file cannot be written.
    """
    page = _Page(tuple(item_ids), log_probs_N_K_C.astype(np.float32), scores or Scores())
    lengths = {len(part) for part in (*page[:2], *page.scores) if part is not None}
    if log_probs_N_K_C.ndim != 3 or len(lengths) != 1:
        raise ValueError(
            f"a shard needs (N, K, C) log-probabilities and equal lengths, got {sorted(lengths)}"
        )
    with _disk_errors(path), replacing(path) as new:
        _write(new, [page], *log_probs_N_K_C.shape[1:])


def concatenate(stages: Sequence[Sequence[Path]], folder: Path) -> str:
    """Merge shards into one score file, ``<sha256>.parquet``.

    Rows with fewer labels are padded with −inf, rows with fewer samples with NaN. The bytes depend on the
    rows alone, not on how they were cut into shards. Memory is bounded by ``GROUP_BYTES``.

    Args:
        stages: The shards of each stage, in order. Those of later stages hold some of the items of the stage
            before, in the same order and with further samples; their rows replace the earlier ones.
        folder: Where to write the file.

    Returns:
        The file's hash.

    Raises:
        StoreError: There are no shards, they do not fit together, or a file cannot be read or written.
    """
    shapes = [{_shape(shard) for shard in shards} for shards in stages]
    if not stages or any(len({samples for samples, _ in shape}) != 1 for shape in shapes):
        n = sum(map(len, stages))
        raise StoreError(f"{folder}: {n} score files cannot be merged; score the round again.")
    samples, labels = (max(each) for each in zip(*set().union(*shapes), strict=True))
    pages = _padded(stages[0], samples, labels)
    for shards in stages[1:]:
        pages = _overlay(pages, _padded(shards, samples, labels), folder)
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with aside(folder) as merged:
            _write(merged, _regroup(pages, folder, samples, labels), samples, labels)
            sha256 = sha256_of(merged)
            publish(merged, folder / f"{sha256}.parquet")
    return sha256


def is_whole(path: Path, item_ids: Sequence[str] | None = None) -> bool:
    """True if a score file exists, can be read to its end, and holds these items (any if None)."""
    if not path.is_file():
        return False
    found: list[str] = []
    try:
        for page in _pages(path):
            found.extend(page.item_ids)
    except StoreError:
        return False
    return item_ids is None or found == list(item_ids)


def read_scores(path: Path) -> tuple[tuple[str, ...], Scores]:
    """The item ids of a file, with their scores.

    Raises:
        StoreError: The file cannot be read.
    """
    with _open(path) as file:
        columns = [name for name in file.schema_arrow.names if name != "log_probs"]
        table = file.read(columns=columns)
        return tuple(table["item_id"].to_pylist()), _scores(table)


def read_predictions(paths: Sequence[Path], item_ids: Sequence[str]) -> FloatArray:
    """Log-probabilities (N, K, C) of some items of the files, in the order of ``item_ids``.

    Labels that an item does not have are −inf; samples that it did not get are NaN.

    Raises:
        StoreError: A file cannot be read, or an item is in none of them.
    """
    samples, labels = (max(each) for each in zip(*map(_shape, paths), strict=True))
    log_probs_N_K_C = np.full((len(item_ids), samples, labels), np.nan)
    position = {item_id: index for index, item_id in enumerate(item_ids)}
    for page in _padded(paths, samples, labels):
        rows = [row for row, item_id in enumerate(page.item_ids) if item_id in position]
        log_probs_N_K_C[[position[page.item_ids[row]] for row in rows]] = page.log_probs_N_K_C[rows]
    missing_N = np.isnan(log_probs_N_K_C[:, 0]).any(axis=1)
    if missing_N.any():
        raise StoreError(
            f"{paths[0]}: has no scores of item {item_ids[int(missing_N.argmax())]}. Score the round again."
        )
    return log_probs_N_K_C


def iter_predictions(path: Path) -> Iterator[tuple[tuple[str, ...], FloatArray]]:
    """Item ids and log-probabilities of all items in the file's order, one row group at a time.

    Raises:
        StoreError: The file cannot be read.
    """
    for page in _pages(path):
        yield page.item_ids, page.log_probs_N_K_C.astype(np.float64)


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
                _scores(table),
            )


def _scores(table: pa.Table) -> Scores:
    return Scores(
        **{name: table[name].to_numpy().copy() for name in Scores._fields if name in table.column_names}
    )


# -- writing -------------------------------------------------------------------------------------------


def _write(path: Path, pages: Sequence[_Page] | Iterator[_Page], samples: int, labels: int) -> None:
    """Write each page as one row group; all pages have the columns of the first."""
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
    for name, values_N in page.scores._asdict().items():
        if values_N is not None:
            columns[name] = pa.array(values_N, pa.int64() if name == "samples" else pa.float64())
    return pa.table(columns, metadata={"samples": str(samples), "labels": str(labels)})


def _padded(shards: Sequence[Path], samples: int, labels: int) -> Iterator[_Page]:
    """The row groups of all shards, padded to the same numbers of samples and labels."""
    for shard in shards:
        for page in _pages(shard):
            _, k, c = page.log_probs_N_K_C.shape
            wide = np.pad(page.log_probs_N_K_C, ((0, 0), (0, 0), (0, labels - c)), constant_values=-np.inf)
            wide = np.pad(wide, ((0, 0), (0, samples - k), (0, 0)), constant_values=np.nan)
            yield page._replace(log_probs_N_K_C=wide)


def _overlay(older: Iterator[_Page], newer: Iterator[_Page], folder: Path) -> Iterator[_Page]:
    """``older`` with rows replaced by those of ``newer``, which holds some of its items in the same order."""
    waiting = next(newer, None)
    for page in older:
        place = {item_id: row for row, item_id in enumerate(page.item_ids)}
        while waiting is not None:
            rows = [place[item_id] for item_id in takewhile(place.__contains__, waiting.item_ids)]
            _put(page, rows, _cut(waiting, slice(0, len(rows))), folder)
            waiting = _cut(waiting, slice(len(rows), None))
            if waiting.item_ids:
                break
            waiting = next(newer, None)
        yield page
    if waiting is not None:
        raise StoreError(f"{folder}: score files do not fit together. Score the round again.")


def _put(page: _Page, rows: Sequence[int], newer: _Page, folder: Path) -> None:
    """Write ``newer`` over these rows of ``page``, in place."""
    _require_same_columns(page, newer, folder)
    page.log_probs_N_K_C[rows] = newer.log_probs_N_K_C
    for old_N, new_N in zip(page.scores, newer.scores, strict=True):
        if old_N is not None and new_N is not None:
            np.put(old_N, rows, new_N)


def _regroup(pages: Iterator[_Page], folder: Path, samples: int, labels: int) -> Iterator[_Page]:
    """The same rows in pages of ``GROUP_BYTES``; the last may be smaller."""
    size = max(1, GROUP_BYTES // (4 * samples * labels))
    held: _Page | None = None
    for page in pages:
        held = page if held is None else _join(held, page, folder)
        while len(held.item_ids) >= size:
            yield _cut(held, slice(0, size))
            held = _cut(held, slice(size, None))
    if held is not None and held.item_ids:
        yield held


def _join(left: _Page, right: _Page, folder: Path) -> _Page:
    _require_same_columns(left, right, folder)
    columns = [
        None if above_N is None or below_N is None else np.concatenate([above_N, below_N])
        for above_N, below_N in zip(left.scores, right.scores, strict=True)
    ]
    return _Page(
        left.item_ids + right.item_ids,
        np.concatenate([left.log_probs_N_K_C, right.log_probs_N_K_C]),
        Scores._make(columns),
    )


def _require_same_columns(one: _Page, other: _Page, folder: Path) -> None:
    if [column is None for column in one.scores] != [column is None for column in other.scores]:
        raise StoreError(f"{folder}: score files with different columns. Score the round again.")


def _cut(page: _Page, rows: slice) -> _Page:
    columns = [None if column is None else column[rows] for column in page.scores]
    return _Page(page.item_ids[rows], page.log_probs_N_K_C[rows], Scores._make(columns))


def _disk_errors(path: Path) -> AbstractContextManager[None]:
    return disk_errors(StoreError, f"{path}: scores cannot be written", "Check the folder and the disk.")
