"""Full scores of a round as Parquet: predictions and uncertainties of every candidate.

Columns: ``item_id``; ``log_probs``, a float32 list of K·C values, sample by sample, with −inf for labels and
NaN for samples that the item does not have; and those of ``Scores`` that were computed. Where answers are open,
``answers`` lists the values of an item's columns, as JSON, ``texts`` what was written for each where that is more, and
``signal_<name>`` is a further figure of the model.
K and C are in the file's metadata. The pages of a file carry checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from star_al.artefacts.score_page import OpenAnswers, Page, Scores
from star_al.common.files import aside, disk_errors, publish, replacing, sha256_of
from star_al.errors import StoreError
from star_al.types import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

GROUP_BYTES = 8 << 20
"""Bytes of log-probabilities and answers in one row group; reading and merging hold about one group in memory."""

_SIGNAL = "signal_"


def write_shard(
    path: Path,
    item_ids: Sequence[str],
    log_probs_N_K_C: FloatArray,
    scores: Scores | None = None,
    opened: OpenAnswers | None = None,
) -> None:
    """Write a score file.

    Args:
        path: The file.
        item_ids: Its N items.
        log_probs_N_K_C: Natural logs of their predicted probabilities.
        scores: Their scores.
        opened: What the columns stand for; None if the task knows.

    Raises:
        ValueError: Lengths differ.
        StoreError: The file cannot be written.
    """
    page = Page(tuple(item_ids), log_probs_N_K_C.astype(np.float32), scores or Scores(), opened)
    beside = () if opened is None else (opened.values_N, *opened.signals.values())
    lengths = {len(part) for part in (*page[:2], *page.scores, *beside) if part is not None}
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
            _write(merged, _regroup(pages, folder), samples, labels)
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
        columns = [name for name in file.schema_arrow.names if name in Scores._fields]
        table = file.read(columns=["item_id", *columns])
        return tuple(table["item_id"].to_pylist()), _scores(table)


def read_signals(path: Path) -> dict[str, FloatArray]:
    """Further figures of all items of a file by name; none where the task has a list of labels.

    Raises:
        StoreError: The file cannot be read.
    """
    with _open(path) as file:
        names = [name for name in file.schema_arrow.names if name.startswith(_SIGNAL)]
        table = file.read(columns=names)
        return {name.removeprefix(_SIGNAL): table[name].to_numpy() for name in names}


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


def read_answers(paths: Sequence[Path], item_ids: Sequence[str]) -> OpenAnswers | None:
    """What the columns of some items of the files stand for, in the order of ``item_ids``; None if the task knows.

    Raises:
        StoreError: A file cannot be read, or an item is in none of them.
    """
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None, dict[str, float]]] = {}
    wanted = frozenset(item_ids)
    for path in paths:
        for page in _pages(path, with_predictions=False):
            if page.opened is None:
                return None
            for row, item_id in enumerate(page.item_ids):
                if item_id in wanted:
                    signals = {name: float(values_N[row]) for name, values_N in page.opened.signals.items()}
                    texts = None if page.opened.texts_N is None else page.opened.texts_N[row]
                    found[item_id] = page.opened.values_N[row], texts, signals
    for item_id in item_ids:
        if item_id not in found:
            raise StoreError(f"{paths[0]}: has no scores of item {item_id}. Score the round again.")
    names = found[item_ids[0]][2] if item_ids else {}
    texts_N = tuple(texts for item_id in item_ids if (texts := found[item_id][1]) is not None)
    return OpenAnswers(
        tuple(found[item_id][0] for item_id in item_ids),
        {name: np.array([found[item_id][2][name] for item_id in item_ids]) for name in names},
        texts_N if item_ids and len(texts_N) == len(item_ids) else None,
    )


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


def _pages(path: Path, *, with_predictions: bool = True) -> Iterator[Page]:
    """The file's row groups; without predictions, their log-probabilities are empty."""
    with _open(path) as file:
        samples, labels = _shape_of(file)
        columns = [name for name in file.schema_arrow.names if with_predictions or name != "log_probs"]
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            flat = np.zeros(0, dtype=np.float32)
            if with_predictions:
                flat = table["log_probs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield Page(
                tuple(table["item_id"].to_pylist()),
                flat.reshape(len(table) if with_predictions else 0, samples, labels),
                _scores(table),
                _opened(table),
            )


def _scores(table: pa.Table) -> Scores:
    return Scores(
        **{name: table[name].to_numpy().copy() for name in Scores._fields if name in table.column_names}
    )


def _opened(table: pa.Table) -> OpenAnswers | None:
    if "answers" not in table.column_names:
        return None
    signals = {
        name.removeprefix(_SIGNAL): table[name].to_numpy().copy()
        for name in table.column_names
        if name.startswith(_SIGNAL)
    }
    texts_N = tuple(map(tuple, table["texts"].to_pylist())) if "texts" in table.column_names else None
    return OpenAnswers(tuple(map(tuple, table["answers"].to_pylist())), signals, texts_N)


# -- writing -------------------------------------------------------------------------------------------


def _write(path: Path, pages: Sequence[Page] | Iterator[Page], samples: int, labels: int) -> None:
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


def _table(page: Page, samples: int, labels: int) -> pa.Table:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(page.log_probs_N_K_C).reshape(-1))
    columns = {
        "item_id": pa.array(page.item_ids, pa.string()),
        "log_probs": pa.FixedSizeListArray.from_arrays(flat, samples * labels),
    }
    for name, values_N in page.scores._asdict().items():
        if values_N is not None:
            of = pa.int64() if name in ("samples", "drawn") else pa.float64()
            columns[name] = pa.array(values_N, of, from_pandas=True)  # NaN is null
    if page.opened is not None:
        columns["answers"] = pa.array(page.opened.values_N, pa.list_(pa.string()))
        if page.opened.texts_N is not None:
            columns["texts"] = pa.array(page.opened.texts_N, pa.list_(pa.string()))
        for name in sorted(page.opened.signals):
            columns[f"{_SIGNAL}{name}"] = pa.array(page.opened.signals[name], pa.float64())
    return pa.table(columns, metadata={"samples": str(samples), "labels": str(labels)})


def _padded(shards: Sequence[Path], samples: int, labels: int) -> Iterator[Page]:
    """The row groups of all shards, padded to the same numbers of samples and labels."""
    for shard in shards:
        for page in _pages(shard):
            _, k, c = page.log_probs_N_K_C.shape
            wide = np.pad(page.log_probs_N_K_C, ((0, 0), (0, 0), (0, labels - c)), constant_values=-np.inf)
            wide = np.pad(wide, ((0, 0), (0, samples - k), (0, 0)), constant_values=np.nan)
            yield page._replace(log_probs_N_K_C=wide)


def _overlay(older: Iterator[Page], newer: Iterator[Page], folder: Path) -> Iterator[Page]:
    """``older`` with rows replaced by those of ``newer``, which holds some of its items in the same order."""
    waiting = next(newer, None)
    for page in older:
        place = {item_id: row for row, item_id in enumerate(page.item_ids)}
        while waiting is not None:
            rows = [place[item_id] for item_id in takewhile(place.__contains__, waiting.item_ids)]
            page.put(rows, waiting.cut(slice(0, len(rows))), folder)
            waiting = waiting.cut(slice(len(rows), None))
            if waiting.item_ids:
                break
            waiting = next(newer, None)
        yield page
    if waiting is not None:
        raise StoreError(f"{folder}: score files do not fit together. Score the round again.")


def _regroup(pages: Iterator[Page], folder: Path) -> Iterator[Page]:
    """The same rows in pages of ``GROUP_BYTES``; the last may be smaller."""
    waiting: list[Page] = []
    size = 0
    for page in pages:
        waiting.append(page)
        size += int(page.bytes_N.sum())
        if size <= GROUP_BYTES:
            continue
        held = _joined(waiting, folder)
        while (rows := _group_size(held)) < len(held.item_ids):
            yield held.cut(slice(0, rows))
            held = held.cut(slice(rows, None))
        waiting, size = [held], int(held.bytes_N.sum())
    if waiting and (held := _joined(waiting, folder)).item_ids:
        yield held


def _joined(pages: Sequence[Page], folder: Path) -> Page:
    """All rows of pages, joined two by two: joined to the first one by one, rows would be copied once for each page."""
    while len(pages) > 1:
        pairs = [pages[start : start + 2] for start in range(0, len(pages), 2)]
        pages = [pair[0].join(pair[1], folder) if len(pair) == 2 else pair[0] for pair in pairs]
    return pages[0]


def _group_size(page: Page) -> int:
    """How many of the rows fill a row group; at least one."""
    return max(1, int(np.searchsorted(np.cumsum(page.bytes_N), GROUP_BYTES, side="right")))


def _disk_errors(path: Path) -> AbstractContextManager[None]:
    return disk_errors(StoreError, f"{path}: scores cannot be written", "Check the folder and the disk.")
