"""The head as a learner: a linear model on frozen features, trained in a second, with samples of its posterior."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from star_al.config.spec import CampaignSpec
from star_al.head import Examples, HeadOptions, fit_head
from star_al.models.head_export import refuse_merged, write_head
from star_al.models.head_texts import TextReader
from star_al.models.opened_heads import KIND, FindPool, rows_in
from star_al.models.text_head_learner import TextHeadLearner
from star_al.models.text_heads import load_head, predict_texts
from star_al.ports import Advance, Pool, Taught, ids_of
from star_al.task import ClosedTask
from star_al.types import BasePrediction, Item, JsonObject, JsonValue, Predictions


class HeadLearner(TextHeadLearner):
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

    # -- before training ---------------------------------------------------------------------------------

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
        """See ``Learner.fit``; a head is trained anew each round on labels alone, without ``parent`` and ``taught``.

        Raises:
            ValueError: An example is not in the pool.
        """
        read = self._heads.read_pool(pool)
        rows_n = rows_in(read, examples)
        targets_n = np.array([self._task.column(item, value) for item, value in examples], dtype=np.int64)
        options = HeadOptions(self._features, self._neighbours, seed, prototypes=self._prototypes)
        fitted = fit_head(read.texts, Examples(rows_n, targets_n), len(self._reader.label_texts), options)
        fitted.save(folder)
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

        Without draws it is the prediction of the fitted weights, the posterior's mode, at the temperature that
        cross-validation chose.
        """
        if folder is None:
            log_probs_N_K_C = self._zero_shot.log_probs(items)[:, None, :]
        else:
            log_probs_N_K_C = predict_texts(self._heads.open(folder), self._reader, items, draws, seed)
        advance(len(items))
        return Predictions(ids_of(items), log_probs_N_K_C, (self._task.columns(items),))

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
        """See ``Learner.export``.

        The folder predicts by the fitted weights, without samples. If the head smooths over neighbours, it holds
        the vectors of the whole pool.

        Raises:
            ModelError: The head reads more than the encoder's vectors, or ``merged`` is True.
        """
        refuse_merged(merged)
        return write_head(out, self._heads.open(folder).predictor, self._reader)
