"""The head as a learner: a linear model on frozen features, trained in a second, with samples of its posterior."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from star_al.acquire.embeddings import unit_vectors
from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError
from star_al.head import (
    Examples,
    FittedHead,
    HeadOptions,
    HeadPredictor,
    TextFeatures,
    fit_head,
    zero_shot,
)
from star_al.models.adapter_record import read_record, save_record
from star_al.models.artefact_files import damaged
from star_al.models.head_export import NEEDS, write_head
from star_al.models.head_pool import HeadPool, read_pool
from star_al.models.head_texts import TextReader, some_of
from star_al.models.licence import find_licence
from star_al.ports import Advance, Pool, Taught, ids_of
from star_al.task import ClosedTask
from star_al.types import BasePrediction, Categorical, Float32Array, FloatArray, Item, JsonObject, JsonValue

FORMAT = 1
"""Version of the artefact, and of how a head reads and predicts."""

KIND = "head"

_ROWS = 256  # new texts that are predicted at once
_OPENED = 2  # heads that are kept in memory: a round's own and its shadow's

FindPool = Callable[[str], Pool | None]
"""Finds a pool of the campaign by its key; None if there is none."""


@dataclass
class _Opened:
    """A trained head that predicts.

    Attributes:
        pool: The pool that it was trained on.
        predictor: Predicts by it.
    """

    pool: HeadPool
    predictor: HeadPredictor


class HeadLearner:
    """Implements ``star_al.ports.Learner`` by a head. Nothing is loaded before it is needed.

    Args:
        task: The task.
        spec: The campaign's settings.
        reader: Reads texts.
        find_pool: Finds the pool of a head that another process has trained.
        say: Called with messages for the user.
    """

    def __init__(
        self,
        task: ClosedTask,
        spec: CampaignSpec,
        reader: TextReader,
        find_pool: FindPool,
        say: Callable[[str], None],
    ) -> None:
        self._task = task
        self._spec = spec
        self._reader = reader
        self._find_pool = find_pool
        self._say = say
        self._pool: HeadPool | None = None
        self._heads: OrderedDict[str, _Opened] = OrderedDict()
        self._checked = False

    # -- what it is --------------------------------------------------------------------------------------

    @property
    def truncated(self) -> int:
        """See ``Learner.truncated``."""
        return self._reader.cut

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that zero-shot predictions depend on: the encoder, and what stands for the labels."""
        parts = ["zero-shot", FORMAT, self._reader.encoder.fingerprint, self._reader.label_texts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def _head_key(self) -> str:
        """Hash of everything that a head is trained for: features, labels, and whether names guide it."""
        names = self._reader.label_texts if self._spec.head.label_names else len(self._reader.label_texts)
        parts = [FORMAT, self._reader.keys, names]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def versions(self) -> JsonObject:
        """See ``Learner.versions``: libraries, device, and a hash of the encoder's weights."""
        return head_versions(self._reader, FORMAT)

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        if self._checked:
            return
        self._reader.encoder.check()
        _ = self._reader.label_embeddings_C_d
        self._checked = True

    def with_other_prompt(self) -> HeadLearner | None:
        """Return None: a head has no prompt."""
        return None

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        """See ``Learner.training_steps``."""
        return 1

    # -- before training ---------------------------------------------------------------------------------

    def base_predict(self, items: Sequence[Item], advance: Advance) -> list[BasePrediction]:
        """See ``Learner.base_predict``: zero-shot, by the similarity of a text to the labels' names."""
        log_probs_N_C = self._zero_shot(items)
        advance(len(items))
        # A head has no preference among labels to divide by, so its content-free prediction is uniform.
        uniform_C = np.full(log_probs_N_C.shape[1], -np.log(log_probs_N_C.shape[1]))
        return [
            BasePrediction(item_id, row.copy(), uniform_C)
            for item_id, row in zip(ids_of(items), log_probs_N_C, strict=True)
        ]

    def _zero_shot(self, items: Sequence[Item]) -> FloatArray:
        embeddings_N_d = self._reader.embeddings(ids_of(items), loader_of(items))
        return zero_shot(self._reader.name_similarities(embeddings_N_d))

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
        rows_n = np.array([read.row_of.get(item.item_id, -1) for item, _ in examples], dtype=np.int64)
        if (rows_n < 0).any():
            item, _ = examples[int((rows_n < 0).argmax())]
            raise ValueError(f"item {item.item_id} is not in the pool that the head is trained on")
        targets_n = np.array([self._task.column(item, value) for item, value in examples], dtype=np.int64)
        options = HeadOptions(features=self._features, neighbours=self._neighbours, seed=seed)
        fitted = fit_head(read.texts, Examples(rows_n, targets_n), len(self._reader.label_texts), options)
        fitted.save(folder)
        record: JsonObject = {"format": FORMAT, "kind": KIND, "head_key": self._head_key, "pool": read.key}
        save_record(folder, record)
        advance(1)
        return KIND

    @property
    def _features(self) -> Literal["auto", "encoder", "model", "both"]:
        """What the head reads; without a language model, only the encoder's vectors are there."""
        return "encoder" if len(self._reader.keys) == 1 else self._spec.head.features

    @property
    def _neighbours(self) -> int | None:
        neighbours = self._spec.head.neighbours
        return None if neighbours == "auto" else neighbours

    def _read_pool(self, pool: Pool) -> HeadPool:
        """Read a pool, or find it among those that were read."""
        known = [opened.pool for opened in self._heads.values()] + ([self._pool] if self._pool else [])
        read = next((each for each in known if each.key == pool.key), None)
        self._pool = read or read_pool(pool, self._reader, self._neighbours)
        return self._pool

    # -- predicting --------------------------------------------------------------------------------------

    def predict(
        self, folder: Path | None, items: Sequence[Item], *, draws: range | None, seed: int, advance: Advance
    ) -> Categorical:
        """See ``Learner.predict``.

        Without draws it is the prediction of the fitted weights, the posterior's mode, at the temperature that
        cross-validation chose.
        """
        item_ids = ids_of(items)
        if folder is None:
            log_probs_N_K_C = self._zero_shot(items)[:, None, :]
        else:
            log_probs_N_K_C = self._predicted(self._open(folder), items, draws, seed)
        advance(len(items))
        return Categorical(item_ids, log_probs_N_K_C)

    def _predicted(
        self, opened: _Opened, items: Sequence[Item], draws: range | None, seed: int
    ) -> FloatArray:
        """Return log-probabilities (N, K, C) of texts of the pool and of others."""
        item_ids = ids_of(items)
        rows_N = np.array([opened.pool.row_of.get(item_id, -1) for item_id in item_ids], dtype=np.int64)
        of_pool, others = np.flatnonzero(rows_N >= 0), np.flatnonzero(rows_N < 0)
        shape = (len(item_ids), 1 if draws is None else len(draws), len(self._reader.label_texts))
        log_probs_N_K_C = np.empty(shape)
        if len(of_pool):
            found = opened.predictor.predict_pool(rows_N[of_pool], draws=draws, seed=seed)
            log_probs_N_K_C[of_pool] = found
        if len(others):
            texts = self._reader.texts([item_ids[n] for n in others], loader_of(items))
            log_probs_N_K_C[others] = predict_new(opened.predictor, texts, draws, seed)
        return log_probs_N_K_C

    def _open(self, folder: Path) -> _Opened:
        """Return a trained head with its pool.

        Raises:
            ModelError: It is damaged, was trained for another encoder or other labels, or its pool is gone.
        """
        content = content_of(folder)
        if content in self._heads:
            self._heads.move_to_end(content)
            return self._heads[content]
        record = read_record(folder)
        if record.get("head_key") != self._head_key:
            raise ModelError(
                f"{folder}: this head was trained for another encoder, for other labels or by another version of "
                "star_al. Restore head and task.labels as they were, or train again."
            )
        pool = self._pool_of(folder, record)
        opened = _Opened(pool, HeadPredictor(FittedHead.load(folder), pool.texts, pool.search))
        self._heads[content] = opened
        while len(self._heads) > _OPENED:
            self._heads.popitem(last=False)
        return opened

    def _pool_of(self, folder: Path, record: Mapping[str, Any]) -> HeadPool:
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
        """See ``Learner.export``.

        The folder predicts by the fitted weights, without samples. If the head smooths over neighbours, it holds
        the vectors of the whole pool.

        Raises:
            ModelError: The head reads more than the encoder's vectors, or ``merged`` is True.
        """
        if merged:
            raise ModelError("a head has no weights to merge into a language model. Leave out --merged.")
        encoder, name = self._reader.encoder, self._reader.encoder_name
        is_local = Path(name).is_dir()
        return {
            "kind": KIND,
            "needs": NEEDS,
            "base": str(Path(name).resolve()) if is_local else name,
            "revision": None if is_local else self._spec.head.revision,
            "base_licence": find_licence(encoder.folder, name),
            **write_head(out, self._open(folder).predictor, self._reader),
        }

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``: the encoder's vectors at unit length, whatever the head."""
        embeddings_N_d = unit_vectors(self._reader.embeddings(ids_of(items), loader_of(items)))
        advance(len(items))
        return embeddings_N_d


def predict_new(predictor: HeadPredictor, texts: TextFeatures, draws: range | None, seed: int) -> FloatArray:
    """Predict texts that are not in the pool in blocks of one size, so that no text depends on the others."""
    found = []
    for first in range(0, len(texts), _ROWS):
        rows = list(range(first, min(first + _ROWS, len(texts))))
        padded = rows + rows[-1:] * (_ROWS - len(rows))
        found.append(predictor.predict_new(some_of(texts, padded), draws=draws, seed=seed)[: len(rows)])
    return np.concatenate(found)


def head_versions(reader: TextReader, head_format: int) -> JsonObject:
    """Return libraries, device, and a hash of the encoder's weights.

    Args:
        reader: Reads texts with the encoder.
        head_format: Version of how the head reads and predicts.
    """
    return {
        **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "sentence-transformers")},
        "device": str(reader.encoder.device),
        "dtype": reader.encoder.dtype,
        "encoder": reader.spec.head.encoder,
        "weights": reader.encoder.fingerprint,
        "head_format": head_format,
    }


def loader_of(items: Sequence[Item]) -> Callable[[Sequence[str]], list[Item]]:
    """Return what loads some of the items by their ids."""

    def load(item_ids: Sequence[str]) -> list[Item]:
        by_id = {item.item_id: item for item in items}
        return [by_id[item_id] for item_id in item_ids]

    return load


def content_of(folder: Path) -> str:
    """Return a hash of a head's files, so that a folder that changed is read again."""
    digest = hashlib.sha256()
    try:
        for file in sorted(folder.iterdir()):
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
    except OSError as exc:
        raise damaged(folder, exc) from exc
    return digest.hexdigest()
