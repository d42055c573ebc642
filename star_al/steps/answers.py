"""Answers of a round's models to labelled items."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from star_al import rng
from star_al.acquire.measures import (
    MEASURES,
    has_measure,
    predictive_entropy,
    predictive_mean_log,
    uncertainties,
)
from star_al.common.paging import pages
from star_al.parts import Parts, RoundParts
from star_al.ports import Learner, Predict
from star_al.steps.base_predictions import base_answers, pad
from star_al.steps.pool import SHARD_ITEMS, all_draws, ranking_draws
from star_al.task import Task
from star_al.task.columns import predicted_column, target_column, values_of
from star_al.types import (
    FloatArray,
    HeldOutPrediction,
    IntArray,
    Item,
    JsonValue,
    Label,
    Predictions,
    Role,
)


@dataclass(frozen=True)
class Split:
    """Items with the values of their labels."""

    items: tuple[Item, ...]
    golds: tuple[JsonValue, ...]
    task: Task

    def __len__(self) -> int:
        return len(self.items)

    @property
    def item_ids(self) -> list[str]:
        """Ids of the items, in order."""
        return [item.item_id for item in self.items]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Labels of the item with most of them, by column; none where answers are open."""
        return max((self.task.choices(item) or () for item in self.items), key=len, default=())

    def targets(self, answers: Answers) -> IntArray:
        """Return the columns (N,) of the labels in a model's answers."""
        columns = [
            target_column(self.task, item, gold, answers.values(row))
            for row, (item, gold) in enumerate(zip(self.items, self.golds, strict=True))
        ]
        return np.array(columns, dtype=np.int64)


def no_items(parts: Parts) -> Split:
    """A split without items."""
    return Split((), (), parts.task)


def split_of(parts: RoundParts, role: Role, among: Collection[str] | None = None) -> Split:
    """The labelled items of a role, all of them if ``among`` is None."""
    labels: dict[str, Label] = parts.store.labels(parts.campaign.campaign_id, role)
    # Labels that came with the data do not make an audit item part of the sample before its turn.
    labels = {item_id: label for item_id, label in labels.items() if among is None or item_id in among}
    labels = {
        item_id: label for item_id, label in labels.items() if not parts.task.has_no_column(label.value)
    }
    items = tuple(parts.store.items(parts.campaign.campaign_id, sorted(labels)))
    return Split(items, tuple(labels[item.item_id].value for item in items), parts.task)


@dataclass(frozen=True)
class Answers:
    """Answers to N items.

    Attributes:
        log_probs_N_C: The predictive mean over all samples, padded with −inf.
        uncertainty_N: By the campaign's measure; None for a measure that needs other items (EPIG).
        values_N: The values of each item's columns where answers are open; empty if the task knows them.
        signals: What else the model told of the items, (N,) each, by name.
    """

    log_probs_N_C: FloatArray
    uncertainty_N: FloatArray | None = None
    values_N: tuple[tuple[JsonValue, ...], ...] = ()
    signals: Mapping[str, FloatArray] = field(default_factory=dict)

    def values(self, row: int) -> tuple[JsonValue, ...]:
        """Return the values that were found for an item; none if the task knows them."""
        return self.values_N[row] if self.values_N else ()

    def signals_of(self, row: int) -> dict[str, float]:
        """Return what else the model told of an item."""
        return {name: float(values_N[row]) for name, values_N in self.signals.items()}

    def predicted(self, task: Task, items: Sequence[Item]) -> list[tuple[int, JsonValue]]:
        """Return the predicted column of each item, and its value."""
        found = []
        for row, item in enumerate(items):
            column = predicted_column(task, item, self.log_probs_N_C[row], self.values(row))
            found.append((column, values_of(task, item, self.values(row))[column]))
        return found


def base_model_answers(
    parts: Parts, split: Split, *, learner: Learner | None = None, contextual: bool | None = None
) -> Answers:
    """Answers of a base model; see ``base_answers``."""
    found = base_answers(parts, split.item_ids, learner=learner, contextual=contextual)
    return Answers(found.log_probs_N_C, values_N=found.opened)


class RoundModel:
    """A model of a round: what it trained, or the base model if it trained nothing of this kind.

    Args:
        parts: The round.
        learner: What predicts.
        sha256: Its artefact; None for the base model.
        ranks: True if this kind of model ranks the pool.
    """

    def __init__(self, parts: RoundParts, learner: Learner, sha256: str | None, *, ranks: bool) -> None:
        self._parts, self._learner = parts, learner
        self._folder: Path | None = None if sha256 is None else parts.artefacts.path_of(sha256)
        self._draws = ranking_draws(parts.spec) if ranks else _draws_beside(parts, learner)
        self._is_head = ranks and parts.spec.head_ranks
        self._measure = parts.spec.acquisition.measure
        self._seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "evaluate")

    def answers(self, split: Split) -> Answers:
        """Answers to all items of a split."""
        answers = self._predict(split.items, self._draws)
        if self._is_head and self._draws is not None:  # the samples are for the measure alone
            mean = self._predict(split.items, None, measured=False)
            return Answers(mean.log_probs_N_C, answers.uncertainty_N, mean.values_N, mean.signals)
        return answers

    def point_answers(self, items: Sequence[Item]) -> Answers:
        """Answers of the posterior's mean or mode, without an uncertainty: measures may compare samples."""
        return self._predict(items, None, measured=False)

    def _predict(self, items: Sequence[Item], draws: range | None, *, measured: bool = True) -> Answers:
        """The predictive mean of each item, and if ``measured`` its uncertainty by the measure."""
        measured = measured and has_measure(self._measure)
        rows: list[FloatArray] = []
        uncertainty: list[float] = []
        values: list[tuple[JsonValue, ...]] = []
        signals: dict[str, list[float]] = {}
        for page in self._pages(items, draws, measured):
            rows.extend(predictive_mean_log(page.log_probs_N_K_C))
            uncertainty.extend(page.uncertainty_N)
            values.extend(page.values_N)
            for name, values_N in page.signals.items():
                signals.setdefault(name, []).extend(values_N)
        return Answers(
            pad(rows),
            np.array(uncertainty) if measured else None,
            tuple(values),
            {name: np.array(told) for name, told in signals.items()},
        )

    def _pages(self, items: Sequence[Item], draws: range | None, measured: bool) -> Iterator[_Page]:
        """Predictions of all items, page by page."""
        if self._folder is None:  # the store has base predictions for all rounds, so the model need not run
            if items:
                yield self._base_page(items, measured)
            return
        with self._parts.progress.task("Evaluating", len(items)) as advance:
            jobs = (Predict(self._folder, page, draws, self._seed) for page in pages(items, SHARD_ITEMS))
            for predictions in self._parts.compute.each(self._learner, jobs, advance):
                yield self._page(predictions, measured)

    def _page(self, predictions: Predictions, measured: bool) -> _Page:
        uncertainty_N: FloatArray = np.zeros(0)
        if measured:
            per_option = self._parts.task.has_options
            uncertainty_N = uncertainties(predictions, self._measure, per_option=per_option)
        rows = range(len(predictions)) if predictions.open_ended else ()
        values_N = tuple(map(predictions.answers_of, rows))
        return _Page(predictions.log_probs_N_K_C, uncertainty_N, values_N, predictions.signals)

    def _base_page(self, items: Sequence[Item], measured: bool) -> _Page:
        """What the base model tells of its uncertainty goes before a measure of its columns."""
        item_ids = [item.item_id for item in items]
        found = base_answers(self._parts, item_ids, learner=self._learner)
        log_probs_N_1_C = found.log_probs_N_C[:, None, :]
        uncertainty_N: FloatArray = np.zeros(0)
        if measured:
            measure = MEASURES.get(self._measure, predictive_entropy)
            uncertainty_N = measure(log_probs_N_1_C, per_option=self._parts.task.has_options)
            uncertainty_N = np.where(np.isnan(found.uncertainty_N), uncertainty_N, found.uncertainty_N)
        return _Page(log_probs_N_1_C, uncertainty_N, found.opened, {})


class _Page(NamedTuple):
    log_probs_N_K_C: FloatArray
    uncertainty_N: FloatArray
    values_N: tuple[tuple[JsonValue, ...], ...]
    signals: Mapping[str, FloatArray]


def _draws_beside(parts: RoundParts, learner: Learner) -> range | None:
    """The samples of a model that does not rank; a head knows its predictive mean without any."""
    return None if learner is parts.head else all_draws(parts.spec)


def kept(parts: RoundParts, model: str, split: Split, answers: Answers) -> list[HeldOutPrediction]:
    """Answers as the store keeps them, without the padding; uncertainties of the ranking model alone."""
    # The measured blend weight reads them, and it weighs the ranking model against its base model alone.
    uncertainty_N = answers.uncertainty_N if model == parts.spec.ranking_model else None
    return [
        HeldOutPrediction(
            item.item_id,
            model,
            answers.log_probs_N_C[row, : len(values_of(parts.task, item, answers.values(row)))].copy(),
            None if uncertainty_N is None else float(uncertainty_N[row]),
            answers.values(row),
            answers.signals_of(row),
        )
        for row, item in enumerate(split.items)
    ]
