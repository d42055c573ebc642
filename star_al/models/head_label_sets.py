"""The head as a learner for texts with any number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from star_al.acquire.label_sets import base_predictions, set_predictions
from star_al.config.spec import CampaignSpec
from star_al.head import FittedLabelSetHead, HeadOptions, LabelSetPredictor, fit_label_set_head
from star_al.models.head_export import write_label_set_head
from star_al.models.head_pool import HeadPool
from star_al.models.head_texts import TextReader
from star_al.models.opened_heads import FindPool, OpenedHead
from star_al.models.text_head_learner import TextHeadLearner
from star_al.models.text_heads import predict_texts
from star_al.ports import Advance, Pool, ids_of
from star_al.task import MultiLabel
from star_al.types import BasePrediction, IntArray, Item, JsonObject, JsonValue, Predictions


class LabelSetHeadLearner(TextHeadLearner[LabelSetPredictor]):
    """Implements ``star_al.ports.Learner`` by a head for each label. Nothing is loaded before it is needed.

    Args:
        task: The task.
        spec: The campaign's settings.
        reader: Reads texts.
        find_pool: Finds the pool of a head that another process has trained.
    """

    _key_begins = ("label sets",)

    def __init__(self, task: MultiLabel, spec: CampaignSpec, reader: TextReader, find_pool: FindPool) -> None:
        self._task = task
        super().__init__(spec, reader, find_pool, _load, over_pool=spec.head.label_names)

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``: zero-shot, by the similarity of a text to the labels' names."""
        found = base_predictions(self._predict_untrained(items, pool))
        advance(len(items))
        return found

    def _predict_untrained(self, items: Sequence[Item], pool: Pool | None = None) -> Predictions:
        """Predict as if a text had one label on average: its similarities say which."""
        shares_N_1_L = np.exp(self._zero_shot.log_probs(items, pool))[:, None]
        with np.errstate(divide="ignore"):
            log_probs_N_1_L_2 = np.log(np.stack([1.0 - shares_N_1_L, shares_N_1_L], axis=3))
        return set_predictions(ids_of(items), self._task.spec.label_names, log_probs_N_1_L_2)

    def _fitted(
        self, pool: HeadPool, rows_n: IntArray, examples: Sequence[tuple[Item, JsonValue]], seed: int
    ) -> FittedLabelSetHead:
        options = HeadOptions(self._features, self._neighbours, seed)
        return fit_label_set_head(pool.texts, rows_n, self._task.matrix(examples), options)

    def _predict_by(
        self,
        head: OpenedHead[HeadPool, LabelSetPredictor],
        items: Sequence[Item],
        draws: range | None,
        seed: int,
    ) -> Predictions:
        pairs_N_K_P = predict_texts(head, self._reader, items, draws, seed)
        log_probs_N_K_L_2 = pairs_N_K_P.reshape(*pairs_N_K_P.shape[:2], -1, 2)
        return set_predictions(ids_of(items), self._task.spec.label_names, log_probs_N_K_L_2)

    def _write(self, out: Path, predictor: LabelSetPredictor) -> JsonObject:
        return write_label_set_head(out, predictor, self._reader)


def _load(folder: Path, pool: HeadPool) -> LabelSetPredictor:
    return LabelSetPredictor(FittedLabelSetHead.load(folder), pool.texts, pool.search)
