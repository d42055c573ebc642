"""Predict new texts with a campaign's model, and export its labels and predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from star_al import rng
from star_al.acquire.measures import entropy_split, predictive_mean_log
from star_al.app.compose import open_parts, reading
from star_al.common.paging import pages
from star_al.config.spec import CampaignFile
from star_al.data import (
    ImportCounts,
    ModelAnswer,
    Row,
    Table,
    check_out,
    check_suffix,
    export_rows,
    locate_here,
    read_texts,
    source_of,
    write_rows,
)
from star_al.errors import DataError
from star_al.parts import Parts
from star_al.ports import Advance, Progress, Store
from star_al.stats.temperature import apply_temperature
from star_al.steps.base_predictions import as_log_probs
from star_al.steps.pool import SHARD_ITEMS, all_draws
from star_al.task import ClosedTask
from star_al.types import (
    Campaign,
    FloatArray,
    Item,
    JsonObject,
    JsonValue,
    Label,
    Role,
    Round,
    RoundEvaluation,
)

OWN_ROLES = (Role.POOL, Role.AUDIT, Role.CALIBRATION)
"""Roles that an export contains. Test items are left out: the user has them in a labelled file."""

LABEL_COLUMNS = frozenset({"item_id", "label", "label_text", "source", "round", "version", "kind"})
"""Columns of an export that are empty for a text without a human label."""

ExportInput = tuple[Item, Label | None, ModelAnswer | None]


@dataclass(frozen=True)
class LatestModel:
    """The model that predicts; ``round_index`` is ``None`` for the base model, ``note`` describes it."""

    round_index: int | None
    temperature: float
    note: str


@dataclass(frozen=True)
class Predicted:
    """How many predictions were written, what was left out while reading, and which model predicted."""

    n: int
    counts: ImportCounts
    model: LatestModel


class Predictor:
    """Predicts with a campaign's newest evaluated adapter, temperature-scaled, or else with the base model."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        rounds = parts.store.rounds(parts.campaign.campaign_id)
        # A round that was interrupted after training has an adapter, but no evaluation yet.
        evaluated = [(r, r.evaluation) for r in rounds if r.adapter_sha256 is not None and r.evaluation]
        self._adapter = evaluated[-1][0].adapter_sha256 if evaluated else None
        self.model = (
            _adapted(*evaluated[-1]) if evaluated else _base(rounds, parts.spec.task.contextual_calibration)
        )

    @property
    def task(self) -> ClosedTask:
        """The campaign's task."""
        return self._parts.task

    def answers(self, items: Sequence[Item], advance: Advance) -> list[ModelAnswer]:
        """Predict items.

        Returns:
            For each item the label, its calibrated probabilities, and the uncertainty of the raw samples.
        """
        log_probs_N_K_C = self._log_probs(items, advance)
        mean_N_C = predictive_mean_log(log_probs_N_K_C)
        probs_N_C = np.exp(apply_temperature(mean_N_C, self.model.temperature))
        aleatoric_N, epistemic_N = entropy_split(log_probs_N_K_C)
        is_split = log_probs_N_K_C.shape[1] > 1
        return [
            ModelAnswer(
                label=self.task.value(item, int(probs_N_C[n].argmax())),
                probabilities_C=tuple(probs_N_C[n, : len(self.task.label_names(item))].tolist()),
                total_uncertainty=float(aleatoric_N[n] + epistemic_N[n]),
                aleatoric=float(aleatoric_N[n]) if is_split else None,
                epistemic=float(epistemic_N[n]) if is_split else None,
            )
            for n, item in enumerate(items)
        ]

    def _log_probs(self, items: Sequence[Item], advance: Advance) -> FloatArray:
        """Return the log-probabilities of every sample, (N, K, C), padded with −inf, before the temperature."""
        parts = self._parts
        if self._adapter is None:
            contextual = parts.spec.task.contextual_calibration
            found = parts.learner.base_predict(items, advance)
            return as_log_probs(found, contextual=contextual)[:, None, :]
        folder = parts.artefacts.path_of(self._adapter)
        seed = rng.derive_seed(parts.campaign.seed, self.model.round_index or 0, "evaluate")
        draws = all_draws(parts.spec)
        predictions = parts.learner.predict(folder, items, draws=draws, seed=seed, advance=advance)
        return predictions.log_probs_N_K_C


def _adapted(round_: Round, evaluation: RoundEvaluation) -> LatestModel:
    temperature = evaluation.temperature
    return LatestModel(
        round_.index, temperature, f"adapter of round {round_.index}, temperature {temperature:.2f}"
    )


def _base(rounds: Sequence[Round], contextual: bool) -> LatestModel:
    found = rounds[0].evaluation.base_temperature if rounds and rounds[0].evaluation else None
    scaling = ["contextual calibration"] if contextual else []
    scaling += ["no temperature yet" if found is None else f"temperature {found:.2f} of round 0"]
    note = f"base model, {', '.join(scaling)}; no adapter has been trained and evaluated yet"
    return LatestModel(None, 1.0 if found is None else found, note)


def predict_file(file: CampaignFile, texts: Path, out: Path, progress: Progress) -> Predicted:
    """Predict the texts of a file and write them together with the file's own columns.

    Args:
        file: The campaign.
        texts: A file of texts with the campaign's columns.
        out: The file to write, ``.jsonl``, ``.csv`` or ``.parquet``.
        progress: Where progress is shown.

    Raises:
        DataError: The file cannot be read, or ``out`` is a file of the campaign.
        StoreError: ``out`` cannot be written, or the campaign has not been started.
        ModelError: The model cannot predict.
    """
    check_suffix(out)
    check_out(out, {"the file of texts": texts} | own_files(file))
    table = locate_here(str(texts))
    with reading(file) as (store, campaign):
        predictor = Predictor(open_parts(file, store, campaign, progress))
        counts = ImportCounts()
        items = read_texts(source_of(table, file.spec, gold=None), predictor.task, counts)
        with progress.task("Predicting", None) as advance:
            rows = _answered(items, predictor, advance)
            shown = export_rows(rows, predictor.task, file.spec.data, with_predictions=True)
            n = write_rows(out, map(without_label_columns, shown))
        return Predicted(n, counts, predictor.model)


def predict_rows(
    parts: Parts, values: Sequence[Mapping[str, Any]], progress: Progress
) -> list[dict[str, JsonValue]]:
    """Predict texts that are in memory, as rows with the campaign's columns.

    Returns:
        A row for each text, in order, with its own columns and the prediction.

    Raises:
        DataError: A text is empty or a column is missing.
        ModelError: The model cannot predict.
    """
    predictor, counts = Predictor(parts), ImportCounts()
    source = source_of(Table("the given texts", "memory"), parts.spec, gold=None)
    rows = (Row(number, dict(row)) for number, row in enumerate(values, 1))
    items = list(read_texts(source, predictor.task, counts, rows)) if values else []
    if counts.empty:
        verb = "is" if counts.empty == 1 else "are"
        raise DataError(
            f"{counts.empty:,} of the {counts.rows:,} given texts {verb} empty. Leave out empty texts."
        )
    progress.say(f"Predicting with the {predictor.model.note}")
    with progress.task("Predicting", len(items)) as advance:
        answered = _answered(items, predictor, advance)
        return [
            without_label_columns(row)
            for row in export_rows(answered, predictor.task, parts.spec.data, with_predictions=True)
        ]


def label_rows(file: CampaignFile, store: Store, campaign: Campaign) -> list[JsonObject]:
    """Return the human labels as rows with the user's own ids and columns."""
    return list(export_rows(_labelled(store, campaign), ClosedTask(file.spec.task), file.spec.data))


def without_label_columns(row: JsonObject) -> dict[str, JsonValue]:
    """Return a row of predictions without the columns that describe human labels."""
    return {name: value for name, value in row.items() if name not in LABEL_COLUMNS}


def export_file(file: CampaignFile, out: Path, progress: Progress, *, with_predictions: bool) -> int:
    """Write the human labels, and optionally the predictions for all other texts.

    Args:
        file: The campaign.
        out: The file to write, ``.jsonl``, ``.csv`` or ``.parquet``.
        progress: Where progress is shown.
        with_predictions: Add the texts without a human label, with the model's predictions.

    Returns:
        The number of rows.

    Raises:
        DataError: The suffix is unknown, or ``out`` is a file of the campaign.
        StoreError: ``out`` cannot be written, or the campaign has not been started.
        ModelError: The model cannot predict.
    """
    check_suffix(out)
    check_out(out, own_files(file))
    with reading(file) as (store, campaign):
        task = ClosedTask(file.spec.task)
        rows: Iterable[ExportInput] = _labelled(store, campaign)
        if not with_predictions:
            return write_rows(out, export_rows(rows, task, file.spec.data))
        predictor = Predictor(open_parts(file, store, campaign, progress))
        progress.say(f"Predicting with the {predictor.model.note}")
        unlabelled = _unlabelled(store, campaign)
        n_unlabelled = sum(
            len(store.item_ids(campaign.campaign_id, role)) - len(store.labels(campaign.campaign_id, role))
            for role in OWN_ROLES
        )
        with progress.task("Predicting unlabelled texts", n_unlabelled) as advance:
            rows = chain(rows, _answered(unlabelled, predictor, advance))
            return write_rows(out, export_rows(rows, task, file.spec.data, with_predictions=True))


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


def _labelled(store: Store, campaign: Campaign) -> Iterator[ExportInput]:
    for role in OWN_ROLES:
        labels = store.labels(campaign.campaign_id, role)
        for page in pages(sorted(labels), SHARD_ITEMS):
            for item in store.items(campaign.campaign_id, page):
                yield item, labels[item.item_id], None


def _unlabelled(store: Store, campaign: Campaign) -> Iterator[Item]:
    for role in OWN_ROLES:
        labels = store.labels(campaign.campaign_id, role)
        item_ids = store.item_ids(campaign.campaign_id, role)
        unlabelled = (item_id for item_id in item_ids if item_id not in labels)
        for page in pages(unlabelled, SHARD_ITEMS):
            yield from store.items(campaign.campaign_id, page)


def _answered(items: Iterable[Item], predictor: Predictor, advance: Advance) -> Iterator[ExportInput]:
    for page in pages(items, SHARD_ITEMS):
        for item, answer in zip(page, predictor.answers(page, advance), strict=True):
            yield item, None, answer
