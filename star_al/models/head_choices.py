"""The head as a learner for multiple choice: the options of a question compete by features of question and option."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from star_al.acquire.embeddings import unit_vectors
from star_al.errors import ModelError
from star_al.head import (
    ChoicePredictor,
    ChoiceTexts,
    FittedChoiceHead,
    HeadOptions,
    choice_zero_shot,
    fit_choice_head,
)
from star_al.models.adapter_record import read_record, save_record
from star_al.models.artefact_files import damaged
from star_al.models.choice_reader import ChoiceReader
from star_al.models.head_learner import KIND, FindPool, content_of, head_versions, loader_of
from star_al.ports import Advance, Pool, Taught, ids_of
from star_al.task import ClosedTask
from star_al.types import BasePrediction, Categorical, Float32Array, FloatArray, Item, JsonObject, JsonValue

FORMAT = 1
"""Version of the artefact, and of how a head for multiple choice reads and predicts."""

_OPENED = 2  # heads that are kept in memory: a round's own and its shadow's


@dataclass(frozen=True)
class _ReadPool:
    """A pool that was read: its key, the row of each question by item id, and what the head reads."""

    key: str
    row_of: Mapping[str, int]
    texts: ChoiceTexts


@dataclass(frozen=True)
class _Opened:
    """A trained head that predicts, and the pool that it was trained on."""

    pool: _ReadPool
    predictor: ChoicePredictor


class ChoiceHeadLearner:
    """Implements ``star_al.ports.Learner`` for multiple choice. Nothing is loaded before it is needed.

    Args:
        task: The task.
        reader: Reads questions and options.
        find_pool: Finds the pool of a head that another process has trained.
    """

    def __init__(self, task: ClosedTask, reader: ChoiceReader, find_pool: FindPool) -> None:
        self._task, self._reader, self._find_pool = task, reader, find_pool
        self._pool: _ReadPool | None = None
        self._heads: OrderedDict[str, _Opened] = OrderedDict()

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def truncated(self) -> int:
        """See ``Learner.truncated``."""
        return self._reader.texts.cut

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that zero-shot predictions depend on: the encoder."""
        return _hash("zero-shot choices", FORMAT, self._reader.texts.encoder.fingerprint)

    @cached_property
    def _head_key(self) -> str:
        """Hash of everything that a head is trained for: features, and whether the options' similarity guides it."""
        return _hash("choices", FORMAT, self._reader.keys, self._reader.reads_similarity)

    def versions(self) -> JsonObject:
        """See ``Learner.versions``: libraries, device, and a hash of the encoder's weights."""
        return head_versions(self._reader.texts, FORMAT)

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

    def base_predict(self, items: Sequence[Item], advance: Advance) -> list[BasePrediction]:
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
        read = self._read_pool(pool)
        for item, _ in examples:
            if item.item_id not in read.row_of:
                raise ValueError(f"item {item.item_id} is not in the pool that the head is trained on")
        rows_n = np.array([read.row_of[item.item_id] for item, _ in examples], dtype=np.int64)
        targets_n = np.array([self._task.column(item, value) for item, value in examples], dtype=np.int64)
        options = HeadOptions(features=self._reader.kinds, seed=seed)
        fit_choice_head(read.texts, rows_n, targets_n, options).save(folder)
        record: JsonObject = {"format": FORMAT, "kind": KIND, "head_key": self._head_key, "pool": read.key}
        save_record(folder, record)
        advance(1)
        return KIND

    def _read_pool(self, pool: Pool) -> _ReadPool:
        """Read a pool, or find it among those that were read."""
        known = [opened.pool for opened in self._heads.values()] + ([self._pool] if self._pool else [])
        read = next((each for each in known if each.key == pool.key), None)
        if read is None:
            texts = self._reader.read(pool.item_ids, pool.load, of_pool=True)
            read = _ReadPool(pool.key, {item_id: row for row, item_id in enumerate(pool.item_ids)}, texts)
        self._pool = read
        return read

    # -- predicting --------------------------------------------------------------------------------------

    def predict(
        self, folder: Path | None, items: Sequence[Item], *, draws: range | None, seed: int, advance: Advance
    ) -> Categorical:
        """See ``Learner.predict``.

        Without draws it is the prediction of the fitted weights, at the temperature that cross-validation chose.
        """
        if folder is None:
            log_probs_N_K_C = self._zero_shot(items)[:, None]
        else:
            log_probs_N_K_C = self._predicted(self._open(folder), items, draws, seed)
        advance(len(items))
        return Categorical(ids_of(items), log_probs_N_K_C)

    def _predicted(
        self, opened: _Opened, items: Sequence[Item], draws: range | None, seed: int
    ) -> FloatArray:
        """Return log-probabilities (N, K, C) of questions of the pool and of others."""
        item_ids = ids_of(items)
        rows_N = np.array([opened.pool.row_of.get(item_id, -1) for item_id in item_ids], dtype=np.int64)
        of_pool, others = np.flatnonzero(rows_N >= 0), np.flatnonzero(rows_N < 0)
        parts = [(of_pool, opened.predictor.predict_pool(rows_N[of_pool], draws=draws, seed=seed))]
        if len(others):
            texts = self._reader.read([item_ids[n] for n in others], loader_of(items))
            parts.append((others, opened.predictor.predict_new(texts, draws=draws, seed=seed)))
        width = max(part.shape[2] for _, part in parts)
        log_probs_N_K_C = np.full((len(item_ids), 1 if draws is None else len(draws), width), -np.inf)
        for places, part in parts:
            log_probs_N_K_C[places, :, : part.shape[2]] = part
        return log_probs_N_K_C

    def _open(self, folder: Path) -> _Opened:
        """Return a trained head with its pool.

        Raises:
            ModelError: It is damaged, was trained for another encoder, or its pool is gone.
        """
        content = content_of(folder)
        if content in self._heads:
            self._heads.move_to_end(content)
            return self._heads[content]
        record = read_record(folder)
        if record.get("head_key") != self._head_key:
            raise ModelError(
                f"{folder}: this head was trained for another encoder or by another version of star_al. "
                "Restore head as it was, or train again."
            )
        pool = self._pool_of(folder, record)
        opened = _Opened(pool, ChoicePredictor(FittedChoiceHead.load(folder), pool.texts))
        self._heads[content] = opened
        while len(self._heads) > _OPENED:
            self._heads.popitem(last=False)
        return opened

    def _pool_of(self, folder: Path, record: Mapping[str, Any]) -> _ReadPool:
        key = record.get("pool")
        if not isinstance(key, str):
            raise damaged(folder, "it names no pool")
        if self._pool is not None and self._pool.key == key:
            return self._pool
        pool = self._find_pool(key)
        if pool is None:
            raise ModelError(
                f"{folder}: the texts that this head was trained on are not in the campaign's database. "
                "Restore the database that belongs to it."
            )
        return self._read_pool(pool)

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
        """Refuse: the exported code reads texts with labels of the task alone.

        Raises:
            ModelError: Always.
        """
        raise ModelError("a head for multiple choice cannot be exported. Use star-al predict.")

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``: of the question with all its options."""
        embeddings_N_d = unit_vectors(self._reader.texts.embeddings(ids_of(items), loader_of(items)))
        advance(len(items))
        return embeddings_N_d


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
