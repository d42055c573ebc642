"""A head for multiple choice: it tells of each question with one of its options how likely it is the right one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from star_al.config.spec import CampaignSpec, TaskSpec
from star_al.errors import ModelError
from star_al.head import zero_shot
from star_al.models.encoder import pair_text, unit
from star_al.models.feature_store import text_key
from star_al.models.head_learner import FORMAT, HeadLearner
from star_al.models.head_texts import TextReader
from star_al.ports import Advance, Pool, ids_of, ignore
from star_al.task import ClosedTask
from star_al.types import BasePrediction, Categorical, Float32Array, FloatArray, Item, JsonObject, JsonValue

WRONG, RIGHT = "wrong", "right"


def pair_spec(spec: CampaignSpec) -> CampaignSpec:
    """Return the settings of a head that tells right options from wrong ones; these names tell it nothing."""
    task = TaskSpec.model_validate({"kind": "classification", "labels": [WRONG, RIGHT]})
    head = spec.head.model_copy(update={"label_names": False, "features": "encoder"})
    return spec.model_copy(update={"task": task, "head": head})


def pair_pool(pool: Pool) -> Pool:
    """Return the pool of all questions with each of their options."""
    pairs = {pair.item_id: pair for item in pool.load(pool.item_ids) for pair in _pairs(item)}
    return Pool(tuple(pairs), lambda ids: [pairs[pair_id] for pair_id in ids])


def _pairs(item: Item) -> list[Item]:
    return [
        Item(f"{item.item_id}/{column}", pair_text(item.text, option))
        for column, option in enumerate(item.options)
    ]


class ChoiceHeadLearner:
    """Implements ``star_al.ports.Learner`` for multiple choice by a head on pairs of question and option.

    An item's probabilities are the odds of its pairs, normalised. So what options have in common, such as how many
    there are, drops out.

    Args:
        task: The task.
        reader: Reads pairs, by ``pair_spec``.
        pairs: The head on pairs, by ``pair_spec``.
    """

    def __init__(self, task: ClosedTask, reader: TextReader, pairs: HeadLearner) -> None:
        self._task, self._reader, self._pairs = task, reader, pairs

    @property
    def truncated(self) -> int:
        """See ``Learner.truncated``; pairs are counted."""
        return self._pairs.truncated

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that zero-shot predictions depend on."""
        parts = ["zero-shot choices", FORMAT, self._reader.encoder.fingerprint]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        self._pairs.check()

    def versions(self) -> JsonObject:
        """See ``Learner.versions``."""
        return self._pairs.versions()

    def with_other_prompt(self) -> ChoiceHeadLearner | None:
        """Return None: a head has no prompt."""
        return None

    def training_steps(self, n_examples: int) -> int:
        """See ``Learner.training_steps``."""
        return self._pairs.training_steps(n_examples)

    def base_predict(self, items: Sequence[Item], advance: Advance) -> list[BasePrediction]:
        """See ``Learner.base_predict``: zero-shot, by the similarity of a question to its options."""
        found = self._zero_shot(items)
        advance(len(items))
        return [
            BasePrediction(item.item_id, row, np.full(len(row), -np.log(len(row))))
            for item, row in zip(items, found, strict=True)
        ]

    def _zero_shot(self, items: Sequence[Item]) -> list[FloatArray]:
        """Return log-probabilities (C_n,) of each item's options."""
        texts = {text_key(text): text for item in items for text in (item.text, *item.options)}
        read = self._reader.embeddings(tuple(texts), lambda keys: [Item(key, texts[key]) for key in keys])
        vector_of = dict(zip(texts.values(), unit(read).astype(np.float64), strict=True))
        return [
            zero_shot(np.array([[vector_of[option] @ vector_of[item.text] for option in item.options]]))[0]
            for item in items
        ]

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
    ) -> str:
        """See ``Learner.fit``."""
        pairs: list[tuple[Item, JsonValue]] = []
        for item, value in examples:
            right = self._task.column(item, value)
            pairs += [(pair, RIGHT if column == right else WRONG) for column, pair in enumerate(_pairs(item))]
        return self._pairs.fit(
            pairs, pool=pair_pool(pool), seed=seed, folder=folder, parent=parent, advance=advance
        )

    def predict(
        self, folder: Path | None, items: Sequence[Item], *, draws: range | None, seed: int, advance: Advance
    ) -> Categorical:
        """See ``Learner.predict``."""
        if folder is None:
            rows = [row[None] for row in self._zero_shot(items)]
        else:
            rows = self._odds(folder, items, draws, seed)
        width = max((row.shape[1] for row in rows), default=1)
        log_probs_N_K_C = np.full((len(items), 1 if draws is None else len(draws), width), -np.inf)
        for number, row in enumerate(rows):
            log_probs_N_K_C[number, :, : row.shape[1]] = row
        advance(len(items))
        return Categorical(ids_of(items), log_probs_N_K_C)

    def _odds(self, folder: Path, items: Sequence[Item], draws: range | None, seed: int) -> list[FloatArray]:
        """Return log-probabilities (K, C_n) of each item's options."""
        pairs = [pair for item in items for pair in _pairs(item)]
        found = self._pairs.predict(folder, pairs, draws=draws, seed=seed, advance=ignore).log_probs_N_K_C
        odds_M_K = found[:, :, 1] - found[:, :, 0]
        ends = np.cumsum([len(item.options) for item in items])[:-1]
        return [log_softmax(rows.T, axis=1) for rows in np.split(odds_M_K, ends)] if items else []

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
        return self._pairs.embed(None, items, advance)
