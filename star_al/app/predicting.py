"""Predict texts with a campaign's model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al.app.compose import open_parts, reading
from star_al.app.model_choice import ModelChoice
from star_al.app.predictor import LatestModel, Predictor
from star_al.common.paging import pages
from star_al.config.spec import CampaignFile, DataSpec
from star_al.data import (
    ExportColumns,
    ImportCounts,
    OutOptions,
    Row,
    SourceRow,
    Table,
    check_format,
    check_out,
    locate_here,
    options_found,
    read_source_rows,
    reading_note,
    similar_dialect,
    source_of,
    without_labels,
    write_rows,
)
from star_al.errors import DataError
from star_al.parts import Parts
from star_al.ports import Advance, Progress
from star_al.steps.pool import SHARD_ITEMS
from star_al.types import JsonObject


@dataclass(frozen=True)
class Predicted:
    """How many predictions were written, what was left out while reading, and which model predicted."""

    n: int
    counts: ImportCounts
    model: LatestModel


def predict_file(
    file: CampaignFile,
    texts: Path,
    out: Path,
    progress: Progress,
    options: OutOptions | None = None,
    which: ModelChoice = ModelChoice.BEST,
) -> Predicted:
    """Predict the texts of a file and write all its rows, in order, with the predictions.

    Args:
        file: The campaign.
        texts: A file of texts with the campaign's columns.
        out: The file to write, ``.jsonl``, ``.csv`` or ``.parquet``.
        progress: Where progress is shown.
        options: How CSV is written.
        which: The head or the language model alone, or what is best.

    Raises:
        DataError: The file cannot be read, ``out`` is a file of the campaign, or there is no such model.
        StoreError: ``out`` cannot be written, or the campaign has not been started.
        ModelError: The model cannot predict.
    """
    check_format(out, options)
    check_out(out, {"the file of texts": texts} | own_files(file))
    table = locate_here(str(texts), dialect=similar_dialect(file.spec.data))
    source = without_labels(source_of(table, file.spec, gold=None))
    with reading(file) as (store, campaign):
        note = reading_note(table)
        if note is not None:
            progress.say(note)
        predictor = Predictor(open_parts(file, store, campaign, progress), which=which)
        counts = ImportCounts()
        rows = read_source_rows(source, predictor.task, counts)
        with progress.task("Predicting", None) as advance:
            n = write_rows(out, _predicted(rows, predictor, file.spec.data, advance), options=options)
        return Predicted(n - counts.empty, counts, predictor.model)


def predict_rows(
    parts: Parts,
    values: Sequence[Mapping[str, Any]],
    progress: Progress,
    which: ModelChoice = ModelChoice.BEST,
) -> list[JsonObject]:
    """Predict texts that are in memory, as rows with the campaign's columns; see ``predict_file``.

    Returns:
        A row for each text, in order, with its own columns and the prediction.

    Raises:
        DataError: A text is empty or a column is missing.
        ModelError: The model cannot predict.
    """
    if not values:
        return []
    predictor, counts = Predictor(parts, which=which), ImportCounts()
    source = without_labels(source_of(Table("the given texts", "memory"), parts.spec, gold=None))
    given = (Row(number, dict(row)) for number, row in enumerate(values, 1))
    rows = list(read_source_rows(source, predictor.task, counts, given))
    if counts.empty:
        verb = "is" if counts.empty == 1 else "are"
        raise DataError(
            f"{counts.empty:,} of the {counts.rows:,} given texts {verb} empty. Leave out empty texts."
        )
    progress.say(f"Predicting with the {predictor.model.note}")
    with progress.task("Predicting", len(rows)) as advance:
        return list(_predicted(rows, predictor, parts.spec.data, advance))


def own_files(file: CampaignFile) -> dict[str, Path | None]:
    """Return the files that no command may overwrite, by their description in messages."""
    from db.engine import parse_url, sqlite_file

    test = file.spec.evaluation.path
    return {
        "the campaign file": file.path,
        "the campaign's data": file.resolve(file.spec.data.path),
        "the campaign's test file": file.resolve(test) if test is not None else None,
        "the campaign's database": sqlite_file(parse_url(file.database_url)),
    }


def _predicted(
    rows: Iterable[SourceRow], predictor: Predictor, data: DataSpec, advance: Advance
) -> Iterator[JsonObject]:
    """Every row with its prediction; those without a text have none."""
    columns = ExportColumns(predictor.task, data)
    for page in pages(rows, SHARD_ITEMS):
        answers = predictor.answers_by_id([row.found.item for row in page if row.found], advance)
        for values, found in page:
            if found is None:
                yield columns.predicted(values, None, None)
            else:
                own = options_found(found.item, data) | values
                yield columns.predicted(own, found.item, answers[found.item.item_id])
