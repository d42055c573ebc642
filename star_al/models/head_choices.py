"""The head as a learner for multiple choice: the options of a question compete by features of question and option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from star_al.head import (
    ChoicePredictor,
    ChoiceTexts,
    FittedChoiceHead,
    HeadOptions,
    choice_zero_shot,
    fit_choice_head,
)
from star_al.models.choice_reader import ChoiceReader
from star_al.models.feature_head_learner import FeatureHeadLearner, hash_of
from star_al.models.head_export import write_choice_head
from star_al.models.head_texts import loader_of
from star_al.models.key_index import RowsById
from star_al.models.opened_heads import FORMAT, FindPool, OpenedHead
from star_al.ports import Advance, Pool, ids_of
from star_al.task import ClosedTask
from star_al.types import BasePrediction, FloatArray, IntArray, Item, JsonObject, JsonValue, Predictions


@dataclass(frozen=True)
class _ReadPool:
    """A pool that was read: its key, the rows of questions by item id, and what the head reads."""

    key: str
    rows_of: RowsById
    texts: ChoiceTexts


class ChoiceHeadLearner(FeatureHeadLearner[_ReadPool, ChoicePredictor]):
    """Implements ``star_al.ports.Learner`` for multiple choice. Nothing is loaded before it is needed.

    Args:
        task: The task.
        reader: Reads questions and options.
        find_pool: Finds the pool of a head that another process has trained.
    """

    def __init__(self, task: ClosedTask, reader: ChoiceReader, find_pool: FindPool) -> None:
        super().__init__(reader.texts, find_pool, _load)
        self._task, self._reader = task, reader

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that zero-shot predictions depend on: the encoder."""
        return hash_of("zero-shot choices", FORMAT, self._texts.encoder.fingerprint)

    @property
    def base_reads_pool(self) -> bool:
        """Return False: each question is answered by itself."""
        return False

    @cached_property
    def _head_key(self) -> str:
        """Hash of everything that a head is trained for: features, and whether the options' similarity guides it."""
        return hash_of("choices", FORMAT, self._reader.keys, self._reader.reads_similarity)

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``: zero-shot, by the similarity of a question to its options."""
        log_probs_N_C = self._zero_shot(items)
        advance(len(items))
        rows = [row[np.isfinite(row)] for row in log_probs_N_C]
        return [
            BasePrediction(item_id, row, np.full(len(row), -np.log(len(row))))
            for item_id, row in zip(ids_of(items), rows, strict=True)
        ]

    def _zero_shot(self, items: Sequence[Item]) -> FloatArray:
        return choice_zero_shot(*self._reader.similarities(ids_of(items), loader_of(items)))

    def _learnable(self, examples: Sequence[tuple[Item, JsonValue]]) -> Sequence[tuple[Item, JsonValue]]:
        return [example for example in examples if not self._task.has_no_column(example[1])]

    def _fitted(
        self, pool: _ReadPool, rows_n: IntArray, examples: Sequence[tuple[Item, JsonValue]], seed: int
    ) -> FittedChoiceHead:
        targets_n = np.array([self._task.column(item, value) for item, value in examples], dtype=np.int64)
        options = HeadOptions(features=self._reader.kinds, seed=seed)
        return fit_choice_head(pool.texts, rows_n, targets_n, options)

    def _read_pool(self, pool: Pool) -> _ReadPool:
        texts = self._reader.read(pool.item_ids, pool.load, of_pool=True)
        return _ReadPool(pool.key, RowsById(pool.item_ids), texts)

    def _predict_untrained(self, items: Sequence[Item], pool: Pool | None = None) -> Predictions:
        return self._predictions(items, self._zero_shot(items)[:, None])

    def _predict_by(
        self,
        head: OpenedHead[_ReadPool, ChoicePredictor],
        items: Sequence[Item],
        draws: range | None,
        seed: int,
    ) -> Predictions:
        def predict_others(item_ids: Sequence[str]) -> FloatArray:
            texts = self._reader.read(item_ids, loader_of(items))
            return head.predictor.predict_new(texts, draws=draws, seed=seed)

        return self._predictions(items, head.predict(ids_of(items), draws, seed, predict_others))

    def _predictions(self, items: Sequence[Item], log_probs_N_K_C: FloatArray) -> Predictions:
        return Predictions(ids_of(items), log_probs_N_K_C, (self._task.columns(items),))

    def _write(self, out: Path, predictor: ChoicePredictor) -> JsonObject:
        return write_choice_head(out, predictor.head, self._texts)


def _load(folder: Path, pool: _ReadPool) -> ChoicePredictor:
    return ChoicePredictor(FittedChoiceHead.load(folder), pool.texts)
