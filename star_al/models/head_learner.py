"""The head as a learner: a linear model on frozen features, trained in a second, with samples of its posterior."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from star_al.config.spec import CampaignSpec
from star_al.head import Examples, FittedHead, HeadOptions, HeadPredictor, fit_head
from star_al.models.head_export import write_head
from star_al.models.head_pool import HeadPool
from star_al.models.head_texts import TextReader
from star_al.models.opened_heads import FindPool, OpenedHead
from star_al.models.text_head_learner import TextHeadLearner
from star_al.models.text_heads import load_head, predict_texts
from star_al.ports import Advance, Pool, ids_of
from star_al.task import ClosedTask
from star_al.types import BasePrediction, FloatArray, IntArray, Item, JsonObject, JsonValue, Predictions


class HeadLearner(TextHeadLearner[HeadPredictor]):
    """Implements ``star_al.ports.Learner`` by a head. Nothing is loaded before it is needed.

    Args:
        task: The task.
        spec: The campaign's settings.
        reader: Reads texts.
        find_pool: Finds the pool of a head that another process has trained.
        prototypes: False in a campaign that began when names were not moved to the texts of the pool.
    """

    def __init__(
        self,
        task: ClosedTask,
        spec: CampaignSpec,
        reader: TextReader,
        find_pool: FindPool,
        *,
        prototypes: bool = True,
    ) -> None:
        self._task = task
        self._prototypes = prototypes and spec.head.label_names
        super().__init__(spec, reader, find_pool, load_head, over_pool=self._prototypes)

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``: zero-shot, by the similarity of a text to the labels' names."""
        log_probs_N_C = self._zero_shot.log_probs(items, pool)
        advance(len(items))
        # A head has no preference among labels to divide by, so its content-free prediction is uniform.
        uniform_C = np.full(log_probs_N_C.shape[1], -np.log(log_probs_N_C.shape[1]))
        return [
            BasePrediction(item_id, row.copy(), uniform_C)
            for item_id, row in zip(ids_of(items), log_probs_N_C, strict=True)
        ]

    def _fitted(
        self, pool: HeadPool, rows_n: IntArray, examples: Sequence[tuple[Item, JsonValue]], seed: int
    ) -> FittedHead:
        targets_n = np.array([self._task.column(item, value) for item, value in examples], dtype=np.int64)
        options = HeadOptions(self._features, self._neighbours, seed, prototypes=self._prototypes)
        return fit_head(pool.texts, Examples(rows_n, targets_n), len(self._reader.label_texts), options)

    def _predict_untrained(self, items: Sequence[Item], pool: Pool | None = None) -> Predictions:
        return self._predictions(items, self._zero_shot.log_probs(items, pool)[:, None, :])

    def _predict_by(
        self,
        head: OpenedHead[HeadPool, HeadPredictor],
        items: Sequence[Item],
        draws: range | None,
        seed: int,
    ) -> Predictions:
        return self._predictions(items, predict_texts(head, self._reader, items, draws, seed))

    def _predictions(self, items: Sequence[Item], log_probs_N_K_C: FloatArray) -> Predictions:
        return Predictions(ids_of(items), log_probs_N_K_C, (self._task.columns(items),))

    def _write(self, out: Path, predictor: HeadPredictor) -> JsonObject:
        return write_head(out, predictor, self._reader)
