"""The head as a learner for texts with any number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from star_al.acquire.label_sets import base_predictions, set_predictions
from star_al.config.spec import CampaignSpec
from star_al.head import FittedLabelSetHead, HeadOptions, LabelSetPredictor, fit_label_set_head
from star_al.models.head_export import refuse_merged, write_label_set_head
from star_al.models.head_pool import HeadPool
from star_al.models.head_texts import TextReader
from star_al.models.opened_heads import KIND, FindPool, rows_in
from star_al.models.text_head_learner import TextHeadLearner
from star_al.models.text_heads import predict_texts
from star_al.ports import Advance, Pool, Taught, ids_of
from star_al.task import MultiLabel
from star_al.types import BasePrediction, FloatArray, Item, JsonObject, JsonValue, Predictions


class LabelSetHeadLearner(TextHeadLearner):
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

    # -- before training ---------------------------------------------------------------------------------

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``: zero-shot, by the similarity of a text to the labels' names."""
        found = base_predictions(self._predict_untrained(items, pool))
        advance(len(items))
        return found

    def _predict_untrained(self, items: Sequence[Item], pool: Pool | None) -> Predictions:
        """Predict as if a text had one label on average: its similarities say which."""
        shares_N_1_L = np.exp(self._zero_shot.log_probs(items, pool))[:, None]
        with np.errstate(divide="ignore"):
            log_probs_N_1_L_2 = np.log(np.stack([1.0 - shares_N_1_L, shares_N_1_L], axis=3))
        return set_predictions(ids_of(items), self._task.spec.label_names, log_probs_N_1_L_2)

    # -- training ----------------------------------------------------------------------------------------

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None = None,
    ) -> str:
        """See ``Learner.fit``; heads are trained anew each round on labels alone, without ``parent`` and ``taught``.

        Raises:
            ValueError: An example is not in the pool.
        """
        read = self._heads.read_pool(pool)
        rows_n = rows_in(read, examples)
        options = HeadOptions(self._features, self._neighbours, seed)
        fit_label_set_head(read.texts, rows_n, self._task.matrix(examples), options).save(folder)
        self._heads.save_record(folder, read)
        advance(1)
        return KIND

    # -- predicting --------------------------------------------------------------------------------------

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        """See ``Learner.predict``.

        Without draws it is the prediction of the fitted weights, each label's at the temperature that
        cross-validation chose.
        """
        if folder is None:
            found = self._predict_untrained(items, None)
        else:
            head = self._heads.open(folder)
            pairs_N_K_P: FloatArray = predict_texts(head, self._reader, items, draws, seed)
            log_probs_N_K_L_2 = pairs_N_K_P.reshape(*pairs_N_K_P.shape[:2], -1, 2)
            found = set_predictions(ids_of(items), self._task.spec.label_names, log_probs_N_K_L_2)
        advance(len(items))
        return found

    def export(
        self,
        folder: Path,
        out: Path,
        *,
        draws: range | None,
        seed: int,
        merged: bool,
        examples: Sequence[Item],
    ) -> JsonObject:
        """See ``Learner.export``. The folder predicts by the fitted weights, without samples.

        Raises:
            ModelError: The heads read more than the encoder's vectors, or ``merged`` is True.
        """
        refuse_merged(merged)
        return write_label_set_head(out, self._heads.open(folder).predictor, self._reader)


def _load(folder: Path, pool: HeadPool) -> LabelSetPredictor:
    return LabelSetPredictor(FittedLabelSetHead.load(folder), pool.texts, pool.search)
