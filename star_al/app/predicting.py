"""Predict texts with a campaign's model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from star_al.app.compose import open_parts
from star_al.app.computing import computing
from star_al.app.kept_predictions import KeptPredictions
from star_al.app.model_choice import ModelChoice
from star_al.app.predictor import LatestModel, Predictor
from star_al.app.stores import reading
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.config.spec import CampaignFile, CampaignSpec, DataSpec
from star_al.data import (
    ExportColumns,
    ImportCounts,
    ModelAnswer,
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
from star_al.types import Item, JsonObject

PAGE_ITEMS = 256
"""Texts that are predicted together, and then kept: what an interrupted run loses at most."""

ENCODER_PAGE_ITEMS = 2048
"""The same for a sentence encoder alone, which reads these in seconds, and few of them slower."""

Answers = Callable[[Sequence[Item], Advance], Sequence[ModelAnswer]]
"""Predicts a page of items, in order."""


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

    Memory is bounded. Predictions are kept beside ``out``, page by page, until it is written, so that a run which was
    interrupted goes on where it was.

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
    with reading(file) as (store, campaign), ExitStack() as working:
        note = reading_note(table)
        if note is not None:
            progress.say(note)
        parts = working.enter_context(
            computing(file, open_parts(file, store, campaign, progress), name="predict")
        )
        predictor = Predictor(parts, which=which)
        counts = ImportCounts()
        kept = KeptPredictions(out, predictor.key)
        # Read once before, so that a mistake far down in the file does not cost hours of a model's work.
        size = _page_items(file.spec)
        due = _due(pages(read_source_rows(source, predictor.task, ImportCounts()), size), kept, progress)
        if due.kept:
            progress.say(f"Going on with {count(due.kept, 'prediction')} that an interrupted run has kept")
        answers = _keeping(kept, predictor)
        rows = read_source_rows(source, predictor.task, counts)
        begun = partial(_begin_ahead, predictor=predictor, kept=kept, n=parts.compute.room)
        with progress.task("Predicting", due.left) as advance:
            columns = ExportColumns(predictor.task, file.spec.data)
            predicted = _predicted(begun(pages(rows, size)), answers, columns, file.spec.data, advance)
            n = write_rows(out, predicted, options=options)
        kept.clear()
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
    columns = ExportColumns(predictor.task, parts.spec.data)
    with progress.task("Predicting", len(rows)) as advance:
        in_pages = pages(rows, _page_items(parts.spec))
        return list(_predicted(in_pages, predictor.answers_of, columns, parts.spec.data, advance))


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


@dataclass
class _Due:
    """How many texts of a file are to be predicted, and how many have been."""

    left: int = 0
    kept: int = 0


def _page_items(spec: CampaignSpec) -> int:
    """How many texts a page has."""
    by_encoder = spec.has_head_learner and spec.head.features in ("auto", "encoder")
    return ENCODER_PAGE_ITEMS if by_encoder else PAGE_ITEMS


def _due(in_pages: Iterable[list[SourceRow]], kept: KeptPredictions, progress: Progress) -> _Due:
    """Read a file to its end and count its texts."""
    due = _Due()
    with progress.task("Reading texts", None) as advance:
        for page in in_pages:
            items = _items(page)
            if kept.load(items) is None:
                due.left += len(items)
            else:
                due.kept += len(items)
            advance(len(page))
    return due


def _keeping(kept: KeptPredictions, predictor: Predictor) -> Answers:
    """Predict page by page, and keep each page; a page that was kept before is read."""

    def answers(items: Sequence[Item], advance: Advance) -> Sequence[ModelAnswer]:
        found = kept.load(items)
        if found is None:
            found = predictor.answers_of(items, advance)
            kept.save(items, found)
        return found

    return answers


def _begin_ahead(
    in_pages: Iterable[list[SourceRow]], *, predictor: Predictor, kept: KeptPredictions, n: int
) -> Iterator[list[SourceRow]]:
    """The same pages; the workers of a cluster are at ``n`` of them ahead."""
    window: deque[list[SourceRow]] = deque()
    for page in in_pages:
        if n and kept.load(_items(page)) is None:
            predictor.begin(_items(page))
        window.append(page)
        if len(window) > n:
            yield window.popleft()
    yield from window


def _predicted(
    in_pages: Iterable[list[SourceRow]],
    answers: Answers,
    columns: ExportColumns,
    data: DataSpec,
    advance: Advance,
) -> Iterator[JsonObject]:
    """Every row with its prediction; those without a text have none."""
    for page in in_pages:
        found_of = iter(answers(_items(page), advance))
        for values, found in page:
            if found is None:
                yield columns.predicted(values, None, None)
            else:
                yield columns.predicted(options_found(found.item, data) | values, found.item, next(found_of))


def _items(rows: Sequence[SourceRow]) -> list[Item]:
    return [row.found.item for row in rows if row.found]
