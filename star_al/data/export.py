"""Items with their labels → JSONL, CSV or Parquet, together with the user's own columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al.common.files import aside, disk_errors, replacing
from star_al.common.paging import pages
from star_al.config.spec import DataSpec
from star_al.data.items import user_fields
from star_al.data.out_files import writable_target
from star_al.errors import DataError, StoreError
from star_al.task import LETTERS, ClosedTask
from star_al.types import Item, JsonObject, JsonValue, Label

PARQUET_ROWS = 5_000
"""Rows per row group of a Parquet export."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The model's prediction for an item, and how sure it is.

    Attributes:
        label: The predicted label's value.
        probabilities_C: Calibrated probabilities of the item's labels, in the order of the task's columns.
        total_uncertainty: Entropy of the predictive mean in nats, before any temperature, as in the scores.
        aleatoric: The part of it that is in the data; None for a model with one sample.
        epistemic: The part of it that more labels could remove; None for a model with one sample.
    """

    label: JsonValue
    probabilities_C: tuple[float, ...]
    total_uncertainty: float
    aleatoric: float | None = None
    epistemic: float | None = None

    @property
    def confidence(self) -> float:
        """The calibrated probability of the label."""
        return max(self.probabilities_C)


def export_rows(
    rows: Iterable[tuple[Item, Label | None, ModelAnswer | None]],
    task: ClosedTask,
    data: DataSpec,
    *,
    with_predictions: bool = False,
) -> Iterator[dict[str, JsonValue]]:
    """Make one flat row per item: the user's columns, then ``item_id`` and the columns of star_al.

    A user's column that has the name of one of ours becomes ``data_<name>``.

    Args:
        rows: Items, each with its human label and its prediction, where there are any.
        task: The campaign's task.
        data: Which columns hold the text and the options.
        with_predictions: True to add the columns of predictions.

    Yields:
        Rows with ``label`` (in multiple choice also ``label_text``, the option's text), ``source``, ``round``
        and ``version`` of the label. With predictions also ``kind`` (human, model or None), ``predicted`` (and
        ``predicted_text``), ``confidence``, ``total_uncertainty``, ``aleatoric``, ``epistemic`` and
        ``probability_<label>`` for each label or letter; these are None if there is a human label.
    """
    letters = LETTERS if with_predictions and task.is_multiple_choice else ""  # of items with more options
    for item, label, answer in rows:
        ours = {"item_id": item.item_id, **_label_columns(task, item, label)}
        if with_predictions:
            ours |= _prediction_columns(task, item, label, answer)
        yield _user_columns(item, data, {*ours, *_probability_columns(letters)}) | ours


def _user_columns(item: Item, data: DataSpec, ours: Collection[str]) -> dict[str, JsonValue]:
    columns: dict[str, JsonValue] = {}
    fields = user_fields(item.fields)
    if data.text not in fields:
        columns[data.text] = item.text
    if isinstance(data.options, str) and data.options not in fields:
        columns[data.options] = list(item.options)
    if isinstance(data.options, tuple):
        padded = (*item.options, *[None] * len(data.options))
        columns |= dict(zip(data.options, padded, strict=False))
    columns |= fields
    if data.options is not None and not isinstance(data.options, (str, tuple)):
        columns |= {"options": list(item.options)} if "options" not in columns else {}
    return {_free_name(name, columns, ours): value for name, value in columns.items()}


def _free_name(name: str, columns: JsonObject, ours: Collection[str]) -> str:
    while name in ours:
        name = f"data_{name}"
        while name in columns:
            name = f"data_{name}"
    return name


def _label_columns(task: ClosedTask, item: Item, label: Label | None) -> dict[str, JsonValue]:
    columns: dict[str, JsonValue] = {"label": label.value if label else None}
    if task.is_multiple_choice:
        columns["label_text"] = _option_text(task, item, label.value) if label else None
    return columns | {
        "source": label.source if label else None,
        "round": label.round_index if label else None,
        "version": label.version if label else None,
    }


def _prediction_columns(
    task: ClosedTask, item: Item, label: Label | None, answer: ModelAnswer | None
) -> dict[str, JsonValue]:
    shown = None if label else answer
    columns: dict[str, JsonValue] = {
        "kind": "human" if label else "model" if answer else None,
        "predicted": shown.label if shown else None,
    }
    if task.is_multiple_choice:
        columns["predicted_text"] = _option_text(task, item, shown.label) if shown else None
    columns |= {
        "confidence": shown.confidence if shown else None,
        "total_uncertainty": shown.total_uncertainty if shown else None,
        "aleatoric": shown.aleatoric if shown else None,
        "epistemic": shown.epistemic if shown else None,
    }
    names = _probability_columns(task.label_names(item))
    return columns | dict(zip(names, shown.probabilities_C if shown else [None] * len(names), strict=True))


def _probability_columns(label_names: Sequence[str]) -> list[str]:
    return [f"probability_{name}" for name in label_names]


def _option_text(task: ClosedTask, item: Item, value: JsonValue) -> str:
    return item.options[task.column(item, value)]


# -- files ---------------------------------------------------------------------------------------------


def check_suffix(path: Path) -> None:
    """Check that ``write_rows`` knows the format of a file name, before any work is done.

    Raises:
        DataError: The suffix is not .jsonl, .csv or .parquet.
    """
    if path.suffix.lower() not in _WRITERS:
        raise DataError(f"{path}: unknown kind of file. Write to one of {', '.join(_WRITERS)}.")


def write_rows(path: Path, rows: Iterable[JsonObject]) -> int:
    """Write rows to a .jsonl, .csv or .parquet file, in bounded memory.

    The file gets its name only when it is complete. A link is followed: its target is written, the link
    stays. The columns are those of all rows, in order of first appearance. In CSV, None is an empty cell and
    lists are JSON; in Parquet, a column with values of several kinds is JSON text.

    Returns:
        The number of rows.

    Raises:
        DataError: The suffix is unknown.
        StoreError: The file cannot be written; ``path`` is unchanged.
    """
    check_suffix(path)
    target = writable_target(path)
    with (
        disk_errors(StoreError, f"{path}: cannot be written", "Check the folder and the disk."),
        aside(target.parent) as spool,
        replacing(target) as new,
    ):
        n_rows, columns = _spool(spool, rows)
        _WRITERS[path.suffix.lower()](spool, new, columns)
    return n_rows


def _spool(path: Path, rows: Iterable[JsonObject]) -> tuple[int, dict[str, set[str]]]:
    """Write rows as JSON lines; return their number, and the kinds of value in each column."""
    columns: dict[str, set[str]] = {}
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            for name, value in row.items():
                columns.setdefault(name, set()).add(_kind(value))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            n_rows += 1
    return n_rows, columns


def _kind(value: JsonValue) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "huge"
    return type(value).__name__


def _spooled(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _keep_json_lines(spool: Path, new: Path, columns: dict[str, set[str]]) -> None:
    spool.replace(new)


def _write_csv(spool: Path, new: Path, columns: dict[str, set[str]]) -> None:
    with new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in _spooled(spool):
            writer.writerow([_cell(row.get(name)) for name in columns])


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict, bool)) else value


def _write_parquet(spool: Path, new: Path, columns: dict[str, set[str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
    plain = {name: _single_kind(kinds) for name, kinds in columns.items()}
    schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in plain.items()])
    with pq.ParquetWriter(new, schema) as writer:
        for page in pages(_spooled(spool), PARQUET_ROWS):
            cells = {
                name: [_parquet_cell(row.get(name), kind) for row in page] for name, kind in plain.items()
            }
            writer.write_table(pa.table(cells, schema=schema))


def _single_kind(kinds: set[str]) -> str:
    kinds = kinds - {"NoneType"}
    if kinds == {"int", "float"}:
        return "float"
    if not kinds:
        return "str"
    return next(iter(kinds)) if len(kinds) == 1 and kinds <= {"bool", "int", "float", "str"} else "json"


def _parquet_cell(value: Any, kind: str) -> Any:
    return json.dumps(value, ensure_ascii=False) if kind == "json" and value is not None else value


_WRITERS: dict[str, Callable[[Path, Path, dict[str, set[str]]], None]] = {
    ".jsonl": _keep_json_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
