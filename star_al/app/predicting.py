"""Use a campaign's model: predict new texts, export human labels and the model's for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.measures import predictive_mean_log
from star_al.app.compose import read_only_parts, reading
from star_al.calibration import apply_temperature
from star_al.config import CampaignFile
from star_al.data import ImportCounts, ModelAnswer, data_source, export_rows, locate, read_texts, write_rows
from star_al.data.export import check_suffix
from star_al.parts import Parts
from star_al.ports import Advance, Progress, Store
from star_al.scoring import SHARD_ITEMS
from star_al.task import ClosedTask
from star_al.types import Campaign, FloatArray, Item, JsonValue, Label, Role, Round

OWN_ROLES = (Role.POOL, Role.AUDIT, Role.CALIBRATION)
"""What an export holds; test items are the user's labelled file already."""

LABEL_COLUMNS = frozenset({"item_id", "label", "label_text", "source", "round", "version", "kind"})
"""Columns of an export that say nothing of a text without a human label."""

ExportInput = tuple[Item, Label | None, ModelAnswer | None]


@dataclass(frozen=True)
class LatestModel:
    """The newest round that can predict, and what to know about it."""

    round_index: int | None
    temperature: float
    note: str


class Predictor:
    """The newest trained adapter of a campaign, temperature-scaled; the base model when none is trained."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        trained = [r for r in parts.store.rounds(parts.campaign.campaign_id) if r.adapter_sha256]
        self._round: Round | None = trained[-1] if trained else None

    @property
    def model(self) -> LatestModel:
        """Which model answers."""
        if self._round is None:
            return LatestModel(None, 1.0, "no adapter has been trained yet: the base model answers")
        temperature = self._round.temperature or 1.0
        note = f"adapter of round {self._round.index}, temperature {temperature:.2f}"
        return LatestModel(self._round.index, temperature, note)

    @property
    def task(self) -> ClosedTask:
        """The campaign's task."""
        return self._parts.task

    def answers(self, items: Sequence[Item], advance: Advance) -> list[ModelAnswer]:
        """The model's label and calibrated confidence for each item."""
        folder = None
        if self._round is not None and self._round.adapter_sha256 is not None:
            folder = self._parts.artefacts.path_of(self._round.adapter_sha256)
        seed = rng.derive_seed(self._parts.campaign.seed, self.model.round_index or 0, "evaluate")
        predictions = self._parts.learner.predict(folder, items, samples=None, seed=seed, advance=advance)
        log_probs_N_C = predictive_mean_log(predictions.log_probs_N_K_C)
        probs_N_C = np.exp(apply_temperature(log_probs_N_C, self.model.temperature))
        return [self._answer(item, probs_C) for item, probs_C in zip(items, probs_N_C, strict=True)]

    def _answer(self, item: Item, probs_C: FloatArray) -> ModelAnswer:
        column = int(probs_C.argmax())
        label: JsonValue = self._parts.task.value(item, column)
        return ModelAnswer(label, float(probs_C[column]))


def predict_file(file: CampaignFile, texts: Path, out: Path, progress: Progress) -> tuple[int, LatestModel]:
    """Predict every text of a file and write them, with the file's own columns; how many, and by which model.

    Raises:
        DataError: the file cannot be read. StoreError: nothing could be written. ModelError: no prediction.
    """
    check_suffix(out)
    with reading(file) as (store, campaign):
        predictor = Predictor(read_only_parts(file, store, campaign, progress))
        source = replace(data_source(file), table=locate(str(texts), Path.cwd()))
        items = read_texts(source, predictor.task, ImportCounts())
        with progress.task("Predicting", None) as advance:
            rows = _answered(items, predictor, advance)
            shown = export_rows(rows, predictor.task, file.spec.data, with_predictions=True)
            n = write_rows(out, ({k: v for k, v in row.items() if k not in LABEL_COLUMNS} for row in shown))
        return n, predictor.model


def export_file(file: CampaignFile, out: Path, progress: Progress, *, with_predictions: bool) -> int:
    """Write the human labels, and with predictions every other item with the model's label; how many rows.

    Raises:
        DataError: an unknown suffix. StoreError: nothing could be written. ModelError: no prediction.
    """
    check_suffix(out)
    with reading(file) as (store, campaign):
        task = ClosedTask(file.spec.task)
        rows: Iterable[ExportInput] = _labelled(store, campaign)
        if not with_predictions:
            return write_rows(out, export_rows(rows, task, file.spec.data))
        predictor = Predictor(read_only_parts(file, store, campaign, progress))
        unlabelled = _unlabelled(store, campaign)
        n_unlabelled = sum(
            len(store.item_ids(campaign.campaign_id, role)) - len(store.labels(campaign.campaign_id, role))
            for role in OWN_ROLES
        )
        with progress.task("Predicting the rest", n_unlabelled) as advance:
            rows = chain(rows, _answered(unlabelled, predictor, advance))
            return write_rows(out, export_rows(rows, task, file.spec.data, with_predictions=True))


def _labelled(store: Store, campaign: Campaign) -> Iterator[ExportInput]:
    for role in OWN_ROLES:
        labels = store.labels(campaign.campaign_id, role)
        for page in _pages(sorted(labels)):
            for item in store.items(campaign.campaign_id, page):
                yield item, labels[item.item_id], None


def _unlabelled(store: Store, campaign: Campaign) -> Iterator[Item]:
    for role in OWN_ROLES:
        labels = store.labels(campaign.campaign_id, role)
        item_ids = store.item_ids(campaign.campaign_id, role)
        for page in _pages([item_id for item_id in item_ids if item_id not in labels]):
            yield from store.items(campaign.campaign_id, page)


def _answered(items: Iterable[Item], predictor: Predictor, advance: Advance) -> Iterator[ExportInput]:
    stream = iter(items)
    while page := list(islice(stream, SHARD_ITEMS)):
        for item, answer in zip(page, predictor.answers(page, advance), strict=True):
            yield item, None, answer


def _pages(item_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(item_ids), SHARD_ITEMS):
        yield item_ids[start : start + SHARD_ITEMS]
