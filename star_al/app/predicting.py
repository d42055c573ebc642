"""Predict texts with a campaign's model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_al import rng
from star_al.acquire.measures import entropy_split, predictive_mean_log
from star_al.app.compose import open_parts, reading
from star_al.common.paging import pages
from star_al.config.spec import CampaignFile, DataSpec
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
from star_al.ports import Advance, Learner, Progress
from star_al.replay import find_round
from star_al.stats.temperature import apply_temperature
from star_al.steps.base_predictions import as_log_probs, pool_of_base
from star_al.steps.pool import SHARD_ITEMS, all_draws
from star_al.task import ClosedTask
from star_al.types import FloatArray, Item, JsonObject, Round


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
    """Predicts with a campaign's newest evaluated model, temperature-scaled, or else with the base model.

    In a round that has both, the language model predicts, not the head that ranked the pool.

    Args:
        parts: The campaign.
        round_index: The round whose model predicts; None for the newest.
        only_learner: Leave out the head beside a language model.

    Raises:
        DataError: There is no such round, or it has no evaluated model.
    """

    def __init__(self, parts: Parts, round_index: int | None = None, *, only_learner: bool = False) -> None:
        self._parts = parts
        rounds = parts.store.rounds(parts.campaign.campaign_id)
        if round_index is not None:
            rounds = [find_round(parts.store, parts.campaign, round_index)]
        trained = [_newest_of(parts.spec.ranking_model, one) for one in rounds]
        found = [one for one in trained if one is not None and not (only_learner and one.is_beside)]
        if round_index is not None and not found:
            raise DataError(
                f"round {round_index} has no {_artefact(parts)} that was trained and evaluated. "
                "Give another round."
            )
        self._newest = found[-1] if found else None
        self.model = self._newest.described(_artefact(parts)) if self._newest else _base(rounds, parts)

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter or head; None for the base model.

        Raises:
            StoreError: It is missing or damaged.
        """
        return None if self._newest is None else self._parts.artefacts.path_of(self._newest.sha256)

    @property
    def _learner(self) -> Learner:
        """What predicts: without a trained model, the one that ranks the pool."""
        parts = self._parts
        if self._newest is None:
            return parts.ranker
        return parts.head if self._newest.is_beside and parts.head is not None else parts.learner

    @property
    def draws(self) -> range | None:
        """The samples that a prediction averages over; None for the posterior's mean or mode."""
        is_beside = self._newest is not None and self._newest.is_beside
        return None if is_beside else all_draws(self._parts.spec)

    @property
    def seed(self) -> int:
        """The seed of the samples."""
        return rng.derive_seed(self._parts.campaign.seed, self.model.round_index or 0, "evaluate")

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

    def answers_by_id(self, items: Sequence[Item], advance: Advance) -> dict[str, ModelAnswer]:
        """Predict items, repeated ones once; returns the answers by item id."""
        different = list({item.item_id: item for item in items}.values())
        if not different:
            return {}
        answers = self.answers(different, advance)
        return {item.item_id: answer for item, answer in zip(different, answers, strict=True)}

    def _log_probs(self, items: Sequence[Item], advance: Advance) -> FloatArray:
        """Return the log-probabilities of every sample, (N, K, C), padded with −inf, before the temperature."""
        parts = self._parts
        folder = self.adapter
        if folder is None:
            contextual = parts.spec.task.contextual_calibration
            pool = pool_of_base(parts, self._learner)
            found = self._learner.base_predict(items, advance, pool)
            return as_log_probs(found, contextual=contextual)[:, None, :]
        return self._learner.predict(
            folder, items, draws=self.draws, seed=self.seed, advance=advance
        ).log_probs_N_K_C


@dataclass(frozen=True)
class _Trained:
    """A model of a round that was trained and evaluated; ``is_beside`` for a head beside a language model."""

    round_index: int
    sha256: str
    temperature: float
    is_beside: bool

    def described(self, artefact: str) -> LatestModel:
        what = "head" if self.is_beside else artefact
        note = f"{what} of round {self.round_index}, temperature {self.temperature:.2f}"
        return LatestModel(self.round_index, self.temperature, note)


def _newest_of(ranking_model: str, round_: Round) -> _Trained | None:
    """What of a round predicts; None if nothing of it was trained and evaluated."""
    evaluation, index = round_.evaluation, round_.index
    if evaluation is None:  # an interrupted round may have been trained
        return None
    if ranking_model == "adapted":
        sha256 = round_.adapter_sha256
        return None if sha256 is None else _Trained(index, sha256, evaluation.temperature, is_beside=False)
    if round_.adapter_sha256 is not None and evaluation.adapted_temperature is not None:
        return _Trained(index, round_.adapter_sha256, evaluation.adapted_temperature, is_beside=False)
    sha256 = round_.head_sha256
    return None if sha256 is None else _Trained(index, sha256, evaluation.temperature, is_beside=True)


def _artefact(parts: Parts) -> str:
    return "head" if parts.spec.has_head_learner else "adapter"


def _base(rounds: Sequence[Round], parts: Parts) -> LatestModel:
    found = rounds[0].evaluation.base_temperature if rounds and rounds[0].evaluation else None
    scaling = ["contextual calibration"] if parts.spec.task.contextual_calibration else []
    scaling += ["no temperature yet" if found is None else f"temperature {found:.2f} of round 0"]
    what = parts.spec.untrained_head_in_words if parts.spec.head_ranks else "base model"
    trained = "head" if parts.spec.head_ranks else "adapter"
    note = f"{what}, {', '.join(scaling)}; no {trained} has been trained and evaluated yet"
    return LatestModel(None, 1.0 if found is None else found, note)


def predict_file(
    file: CampaignFile, texts: Path, out: Path, progress: Progress, options: OutOptions | None = None
) -> Predicted:
    """Predict the texts of a file and write all its rows, in order, with the predictions.

    Args:
        file: The campaign.
        texts: A file of texts with the campaign's columns.
        out: The file to write, ``.jsonl``, ``.csv`` or ``.parquet``.
        progress: Where progress is shown.
        options: How CSV is written.

    Raises:
        DataError: The file cannot be read, or ``out`` is a file of the campaign.
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
        predictor = Predictor(open_parts(file, store, campaign, progress))
        counts = ImportCounts()
        rows = read_source_rows(source, predictor.task, counts)
        with progress.task("Predicting", None) as advance:
            n = write_rows(out, _predicted(rows, predictor, file.spec.data, advance), options=options)
        return Predicted(n - counts.empty, counts, predictor.model)


def predict_rows(parts: Parts, values: Sequence[Mapping[str, Any]], progress: Progress) -> list[JsonObject]:
    """Predict texts that are in memory, as rows with the campaign's columns.

    Returns:
        A row for each text, in order, with its own columns and the prediction.

    Raises:
        DataError: A text is empty or a column is missing.
        ModelError: The model cannot predict.
    """
    if not values:
        return []
    predictor, counts = Predictor(parts), ImportCounts()
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
