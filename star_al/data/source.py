"""Where rows come from and what their columns mean: the names in a campaign → files and columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from star_al.config.spec import LABEL_COLUMNS, CampaignFile, CampaignSpec, DataSpec, OptionsPattern
from star_al.errors import DataError

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}
"""Kind of file by suffix."""

TEXT_FORMATS = ("jsonl", "json", "csv", "tsv")
"""Kinds of text file, which may be gzipped (``.jsonl.gz``)."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is known about how a text file is written. What is None is found in the file.

    Attributes:
        delimiter: What separates cells.
        encoding: The file's encoding.
        header: False if the first row is data; also for Excel files.
        quotes: False if quotation marks are part of the texts.
        fallback_encoding: The encoding of a file that is not UTF-8, in place of a guess.
    """

    delimiter: str | None = None
    encoding: str | None = None
    header: bool = True
    quotes: bool | None = None
    fallback_encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in a file, in a folder, on the hub or in memory.

    Attributes:
        name: What the user wrote, for messages.
        format: A value of ``FORMATS``, ``saved`` (a folder saved by `datasets`), ``hub`` or ``memory``.
        path: The file or folder; None for a hub name and for rows in memory.
        subset: The configuration of a hub name.
        split: The split of a hub name or saved folder.
        dialect: What is known about how a text file is written.
    """

    name: str
    format: str
    path: Path | None = None
    subset: str | None = None
    split: str = "train"
    dialect: Dialect = Dialect()

    @property
    def is_sparse(self) -> bool:
        """True if a row may lack a column that others have."""
        return self.format in ("jsonl", "json", "memory")

    def place(self, number: int) -> str:
        """Where row ``number`` is, in words."""
        unit = "line" if self.format in ("jsonl", "csv", "tsv") else "row"
        return f"{self.name}, {unit} {number}"


@dataclass(frozen=True, slots=True)
class DataSource:
    """A table and what its columns mean.

    Attributes:
        table: The rows.
        text: The column of texts.
        id: The column of the user's ids.
        label: A column with labels that may be empty in some rows.
        gold: A column with a valid label in every row that has a text.
        options: Where the options of multiple choice are.
        label_columns: Columns with 1 or 0 for a label each, which together are the column ``label_columns``.
        is_mixed: True if two options are put into an order of their own: the data has the better one in one column.
        template: What the text is made of, with columns in braces; None if it is the text column.
        columns: The columns that ``template`` names; ``text`` stands for the text column.
    """

    table: Table
    text: str
    id: str | None = None
    label: str | None = None
    gold: str | None = None
    options: str | tuple[str, ...] | OptionsPattern | None = None
    label_columns: tuple[str, ...] = ()
    is_mixed: bool = False
    template: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that the text is made of."""
        if self.template is None:
            return (self.text,)
        return tuple(self.text if name == "text" else name for name in self.columns)


def data_source(file: CampaignFile) -> DataSource:
    """Return the campaign's own data; the oracle's column is its gold.

    Raises:
        DataError: The file is missing or of an unknown kind.
    """
    data = file.spec.data
    table = locate(
        data.path, file.path.parent, subset=data.subset, split=data.split, dialect=own_dialect(data)
    )
    return source_of(table, file.spec, gold=file.spec.gold_column)


def own_dialect(data: DataSpec) -> Dialect:
    """What a campaign says about how its data file is written."""
    return Dialect(data.delimiter, data.encoding, data.header, data.quotes)


def similar_dialect(data: DataSpec) -> Dialect:
    """What the campaign's data file lets expect of its other files, such as those to predict."""
    return Dialect(header=data.header, fallback_encoding=data.encoding)


def source_of(table: Table, spec: CampaignSpec, *, gold: str | None) -> DataSource:
    """Return a table with the columns of a campaign's data; ``gold`` is the column with a label in every row."""
    data, split = spec.data, spec.task.split_template
    return DataSource(
        table=table,
        text=data.text,
        id=data.id,
        label=data.label,
        gold=gold,
        options=data.options,
        label_columns=(data.label_columns or ()) if LABEL_COLUMNS in (data.label, gold) else (),
        is_mixed=spec.mixes_completions,
        template=split.item_text if split else None,
        columns=split.columns if split else (),
    )


def test_source(file: CampaignFile) -> DataSource | None:
    """Return the test file, in which every row needs a label; None unless ``evaluation.kind`` is test.

    Raises:
        DataError: The file is missing or of an unknown kind.
    """
    data, evaluation = file.spec.data, file.spec.evaluation
    if evaluation.kind != "test" or evaluation.path is None:
        return None
    same_file = evaluation.path == data.path
    table = locate(
        evaluation.path,
        file.path.parent,
        subset=data.subset if same_file else None,
        split=evaluation.split,
        dialect=own_dialect(data) if same_file else similar_dialect(data),
    )
    label = file.spec.test_label_column
    return replace(source_of(table, file.spec, gold=label), label=label)


def locate_here(
    name: str, *, subset: str | None = None, split: str = "train", dialect: Dialect = Dialect()
) -> Table:
    """Find the table for a name on the command line, relative to the current folder.

    Arguments and errors are those of ``locate``.
    """
    return locate(name, Path.cwd(), subset=subset, split=split, base="the current folder", dialect=dialect)


def locate(
    name: str,
    folder: Path,
    *,
    subset: str | None = None,
    split: str = "train",
    base: str = "the campaign file",
    dialect: Dialect = Dialect(),
) -> Table:
    """Find a table: the file or folder of that name if there is one, else a hub name.

    Args:
        name: A path or a hub name.
        folder: Where a relative path starts.
        subset: The configuration of a hub name.
        split: The split of a hub name or saved folder.
        base: What messages call ``folder``.
        dialect: What is known about how a text file is written.

    Returns:
        The table; nothing of it is read yet.

    Raises:
        DataError: The path does not exist, the file's kind is unknown, or the folder was not saved by `datasets`.
    """
    try:
        path = (folder / Path(name).expanduser()).resolve()
        if path.is_dir():
            return _saved_folder(name, path, split)
        exists = path.exists()
    except (OSError, RuntimeError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise DataError(f"{name}: cannot be looked up ({reason}). Check the path.") from exc
    if exists:
        return Table(name, _format(name, path), path, dialect=dialect)
    if _is_path(name):
        raise DataError(f"{name}: no such file ({path}). Paths are relative to {base}.")
    return Table(name, "hub", subset=subset, split=split)


def _saved_folder(name: str, path: Path, split: str) -> Table:
    if not any((path / mark).is_file() for mark in ("dataset_info.json", "dataset_dict.json")):
        raise DataError(
            f"{name}: this is a folder, but not one written by datasets' save_to_disk. Name a file in it instead."
        )
    return Table(name, "saved", path, split=split)


def _format(name: str, path: Path) -> str:
    found = FORMATS.get(_data_suffix(path.name))
    if found is None or (found not in TEXT_FORMATS and path.suffix.lower() == ".gz"):
        raise DataError(
            f"{name}: unknown kind of file. Known suffixes: {', '.join(FORMATS)}. "
            "If it is a table as text, rename it to .csv or .tsv."
        )
    return found


def _data_suffix(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).suffix


def _is_path(name: str) -> bool:
    return _data_suffix(name) in FORMATS or not _HUB_NAME.fullmatch(name) or ".." in name
