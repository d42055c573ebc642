"""The head as a learner for multiple choice: the options of a question compete by features of question and option."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from star_al.acquire.embeddings import unit_vectors
from star_al.head import (
    ChoicePredictor,
    ChoiceTexts,
    FittedChoiceHead,
    HeadOptions,
    choice_zero_shot,
    fit_choice_head,
)
from star_al.models.choice_reader import ChoiceReader
from star_al.models.encoder import SentenceEncoder
from star_al.models.head_export import refuse_merged, write_choice_head
from star_al.models.head_texts import loader_of
from star_al.models.key_index import RowsById
from star_al.models.opened_heads import FORMAT, KIND, FindPool, OpenedHeads, rows_in
from star_al.ports import Advance, Pool, Taught, ids_of
from star_al.task import ClosedTask
from star_al.types import BasePrediction, Float32Array, FloatArray, Item, JsonObject, JsonValue, Predictions


@dataclass(frozen=True)
class _ReadPool:
    """A pool that was read: its key, the rows of questions by item id, and what the head reads."""

    key: str
    rows_of: RowsById
    texts: ChoiceTexts


class ChoiceHeadLearner:
    """Implements ``star_al.ports.Learner`` for multiple choice. Nothing is loaded before it is needed.

    Args:
        task: The task.
        reader: Reads questions and options.
        find_pool: Finds the pool of a head that another process has trained.
    """

    def __init__(self, task: ClosedTask, reader: ChoiceReader, find_pool: FindPool) -> None:
        self._task, self._reader = task, reader
        self._heads = OpenedHeads(lambda: self._head_key, find_pool, self._read_pool, _load)

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def encoder(self) -> SentenceEncoder:
        """The sentence encoder that reads texts."""
        return self._reader.texts.encoder

    @property
    def truncated(self) -> int:
        """See ``Learner.truncated``."""
        return self._reader.texts.cut

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that zero-shot predictions depend on: the encoder."""
        return _hash("zero-shot choices", FORMAT, self._reader.texts.encoder.fingerprint)

    @property
    def base_reads_pool(self) -> bool:
        """Return False: each question is answered by itself."""
        return False

    @cached_property
    def _head_key(self) -> str:
        """Hash of everything that a head is trained for: features, and whether the options' similarity guides it."""
        return _hash("choices", FORMAT, self._reader.keys, self._reader.reads_similarity)

    def versions(self) -> JsonObject:
        """See ``Learner.versions``: libraries, device, and a hash of the encoder's weights."""
        return {**self._reader.texts.versions(), "head_format": FORMAT}

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        self._reader.texts.encoder.check()

    def with_other_prompt(self) -> ChoiceHeadLearner | None:
        """Return None: a head has no prompt."""
        return None

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        """See ``Learner.training_steps``."""
        return 1

    # -- before training ---------------------------------------------------------------------------------

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
        examples = [example for example in examples if not self._task.has_no_column(example[1])]
        rows_n = rows_in(read, examples)
        targets_n = np.array([self._task.column(item, value) for item, value in examples], dtype=np.int64)
        options = HeadOptions(features=self._reader.kinds, seed=seed)
        fit_choice_head(read.texts, rows_n, targets_n, options).save(folder)
        self._heads.save_record(folder, read)
        advance(1)
        return KIND

    def _read_pool(self, pool: Pool) -> _ReadPool:
        texts = self._reader.read(pool.item_ids, pool.load, of_pool=True)
        return _ReadPool(pool.key, RowsById(pool.item_ids), texts)

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

        Without draws it is the prediction of the fitted weights, at the temperature that cross-validation chose.
        """
        if folder is None:
            log_probs_N_K_C = self._zero_shot(items)[:, None]
        else:
            log_probs_N_K_C = self._predicted(folder, items, draws, seed)
        advance(len(items))
        return Predictions(ids_of(items), log_probs_N_K_C, (self._task.columns(items),))

    def _predicted(self, folder: Path, items: Sequence[Item], draws: range | None, seed: int) -> FloatArray:
        """Return log-probabilities (N, K, C) of questions of the pool and of others."""
        head = self._heads.open(folder)

        def predict_others(item_ids: Sequence[str]) -> FloatArray:
            texts = self._reader.read(item_ids, loader_of(items))
            return head.predictor.predict_new(texts, draws=draws, seed=seed)

        return head.predict(ids_of(items), draws, seed, predict_others)

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
            ModelError: The head reads more than the encoder's vectors, or ``merged`` is True.
        """
        refuse_merged(merged)
        return write_choice_head(out, self._heads.open(folder).predictor.head, self._reader.texts)

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``: of the question with all its options."""
        embeddings_N_d = unit_vectors(self._reader.texts.embeddings(ids_of(items), loader_of(items)))
        advance(len(items))
        return embeddings_N_d


def _load(folder: Path, pool: _ReadPool) -> ChoicePredictor:
    return ChoicePredictor(FittedChoiceHead.load(folder), pool.texts)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
