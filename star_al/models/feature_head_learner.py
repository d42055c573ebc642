"""What all learners share whose model is a head on frozen features, whatever the kind of task."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol

from star_al.acquire.embeddings import unit_vectors
from star_al.models.encoder import SentenceEncoder
from star_al.models.head_export import refuse_merged
from star_al.models.head_texts import TextReader, loader_of
from star_al.models.opened_heads import FORMAT, KIND, FindPool, OpenedHead, OpenedHeads, P, Q, rows_in
from star_al.ports import Advance, Pool, Taught, ids_of
from star_al.types import Float32Array, IntArray, Item, JsonObject, JsonValue, Predictions

Examples = Sequence[tuple[Item, JsonValue]]


class Fitted(Protocol):
    """A head that was trained."""

    def save(self, folder: Path) -> None:
        """Write it."""


class FeatureHeadLearner(ABC, Generic[P, Q]):
    """Trains, opens and exports heads as ``star_al.ports.Learner`` wants it. Nothing is loaded before it is needed.

    Args:
        texts: Reads texts with the sentence encoder.
        find_pool: Finds the pool of a head that another process has trained.
        load: Loads a head from its folder, for a pool.
    """

    def __init__(self, texts: TextReader, find_pool: FindPool, load: Callable[[Path, P], Q]) -> None:
        self._texts = texts
        self._heads = OpenedHeads(lambda: self._head_key, find_pool, self._read_pool, load)

    # -- what a kind of head says --------------------------------------------------------------------------

    @property
    @abstractmethod
    def _head_key(self) -> str:
        """Hash of everything that a head is trained for."""

    @abstractmethod
    def _read_pool(self, pool: Pool) -> P:
        """Read the texts of a pool."""

    def _learnable(self, examples: Examples) -> Examples:
        """Return the examples that a head can learn from: by default all."""
        return examples

    @abstractmethod
    def _fitted(self, pool: P, rows_n: IntArray, examples: Examples, seed: int) -> Fitted:
        """Train a head on examples, which are these rows of the pool."""

    @abstractmethod
    def _predict_untrained(self, items: Sequence[Item], pool: Pool | None = None) -> Predictions:
        """Predict by similarity alone."""

    @abstractmethod
    def _predict_by(
        self, head: OpenedHead[P, Q], items: Sequence[Item], draws: range | None, seed: int
    ) -> Predictions:
        """Predict texts of the pool and others."""

    @abstractmethod
    def _write(self, out: Path, predictor: Q) -> JsonObject:
        """Write a head as a folder that predicts without star_al."""

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def encoder(self) -> SentenceEncoder:
        """The sentence encoder that reads texts."""
        return self._texts.encoder

    @property
    def truncated(self) -> int:
        """See ``Learner.truncated``."""
        return self._texts.cut

    def versions(self) -> JsonObject:
        """See ``Learner.versions``: libraries, device, and a hash of the encoder's weights."""
        return {**self._texts.versions(), "head_format": FORMAT}

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        self._texts.encoder.check()

    def with_other_prompt(self) -> None:
        """Return None: a head has no prompt."""

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        """See ``Learner.training_steps``."""
        return 1

    # -- training and predicting ---------------------------------------------------------------------------

    def fit(
        self,
        examples: Examples,
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
        examples = self._learnable(examples)
        self._fitted(read, rows_in(read, examples), examples, seed).save(folder)
        self._heads.save_record(folder, read)
        advance(1)
        return KIND

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
            found = self._predict_untrained(items)
        else:
            found = self._predict_by(self._heads.open(folder), items, draws, seed)
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

        If the head smooths over neighbours, it holds the vectors of the whole pool.

        Raises:
            ModelError: The head reads more than the encoder's vectors, or ``merged`` is True.
        """
        refuse_merged(merged)
        return self._write(out, self._heads.open(folder).predictor)

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``: the encoder's vectors at unit length, whatever the head."""
        embeddings_N_d = unit_vectors(self._texts.embeddings(ids_of(items), loader_of(items)))
        advance(len(items))
        return embeddings_N_d


def hash_of(*parts: object) -> str:
    """Return a hash of JSON values."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
