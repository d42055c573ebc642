"""Trained heads that predict, each with the pool that it was trained on. The last ones used stay in memory."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from star_al.errors import ModelError
from star_al.models.adapter_record import read_record, save_record
from star_al.models.artefact_files import damaged
from star_al.ports import Pool
from star_al.types import FloatArray, IntArray, Item, JsonObject, JsonValue

KIND = "head"
"""The kind of the artefact."""

FORMAT = 1
"""Version of the artefact, and of how a head reads and predicts."""

_KEPT = 2  # heads that are kept in memory: a round's own and its shadow's

FindPool = Callable[[str], Pool | None]
"""Finds a pool of the campaign by its key; None if there is none."""


class ReadPool(Protocol):
    """A pool that was read."""

    @property
    def key(self) -> str:
        """A hash of its ids; an artefact names the pool that it was trained on by it."""

    @property
    def rows_of(self) -> Callable[[Sequence[str]], IntArray]:
        """Returns the rows of texts by their item ids, (N,); −1 for those that are not of the pool."""


class PoolPredictor(Protocol):
    """Predicts texts of the pool that its head was trained on."""

    def predict_pool(
        self, rows_N: IntArray | None = None, *, draws: range | None = None, seed: int = 0
    ) -> FloatArray:
        """Log-probabilities (N, K, C) of some rows."""


P = TypeVar("P", bound=ReadPool)
Q = TypeVar("Q", bound=PoolPredictor)


@dataclass(frozen=True)
class OpenedHead(Generic[P, Q]):
    """A trained head that predicts.

    Attributes:
        pool: The pool that it was trained on.
        predictor: Predicts by it.
    """

    pool: P
    predictor: Q

    def predict(
        self,
        item_ids: Sequence[str],
        draws: range | None,
        seed: int,
        predict_others: Callable[[Sequence[str]], FloatArray],
    ) -> FloatArray:
        """Predict texts of the pool and others.

        Args:
            item_ids: Their ids.
            draws: Numbers of the posterior's samples; None for the fitted weights.
            seed: With a sample's number it decides the sample.
            predict_others: Predicts those that are not in the pool, by their ids.

        Returns:
            Log-probabilities (N, K, C), padded with −inf.
        """
        rows_N = self.pool.rows_of(item_ids)
        of_pool, others = np.flatnonzero(rows_N >= 0), np.flatnonzero(rows_N < 0)
        parts = []
        if len(of_pool) or not len(others):
            found = self.predictor.predict_pool(rows_N[of_pool], draws=draws, seed=seed)
            parts.append((of_pool, found))
        if len(others):
            parts.append((others, predict_others([item_ids[n] for n in others])))
        samples, width = parts[0][1].shape[1], max(found.shape[2] for _, found in parts)
        log_probs_N_K_C = np.full((len(item_ids), samples, width), -np.inf)
        for places, found in parts:
            log_probs_N_K_C[places, :, : found.shape[2]] = found
        return log_probs_N_K_C


class OpenedHeads(Generic[P, Q]):
    """Opens trained heads, and keeps the last ones with their pools.

    Args:
        head_key: Returns a hash of everything that the heads are trained for.
        find_pool: Finds the pool of a head that another process has trained.
        read_pool: Reads the texts of a pool.
        load: Loads the head in a folder that was trained on a pool.
    """

    def __init__(
        self,
        head_key: Callable[[], str],
        find_pool: FindPool,
        read_pool: Callable[[Pool], P],
        load: Callable[[Path, P], Q],
    ) -> None:
        self._head_key = head_key
        self._find_pool = find_pool
        self._read_pool = read_pool
        self._load = load
        self._pool: P | None = None
        self._heads: OrderedDict[str, OpenedHead[P, Q]] = OrderedDict()

    def read_pool(self, pool: Pool) -> P:
        """Read a pool, or find it among those that were read."""
        self._pool = self._known(pool.key) or self._read_pool(pool)
        return self._pool

    def _known(self, key: str) -> P | None:
        known = [opened.pool for opened in self._heads.values()]
        known += [] if self._pool is None else [self._pool]
        return next((each for each in known if each.key == key), None)

    def save_record(self, folder: Path, pool: P) -> None:
        """Write down beside a head what it was trained for, and on which pool.

        Raises:
            StoreError: The folder cannot be written.
        """
        record: JsonObject = {
            "format": FORMAT,
            "kind": KIND,
            "head_key": self._head_key(),
            "pool": pool.key,
        }
        save_record(folder, record)

    def open(self, folder: Path) -> OpenedHead[P, Q]:
        """Return the head in a folder with its pool.

        Raises:
            ModelError: It is damaged, was trained for another encoder or another task, or its pool is gone.
        """
        content = _content_of(folder)
        if content not in self._heads:
            pool = self._pool_of(folder)
            self._heads[content] = OpenedHead(pool, self._load(folder, pool))
            if len(self._heads) > _KEPT:
                self._heads.popitem(last=False)
        self._heads.move_to_end(content)
        return self._heads[content]

    def _pool_of(self, folder: Path) -> P:
        """Return the pool that a head was trained on."""
        record = read_record(folder)
        if record.get("head_key") != self._head_key():
            raise ModelError(
                f"{folder}: this head was trained for another encoder, for another task or by another version of "
                "star_al. Restore the settings of head and task as they were, or train again."
            )
        key = _pool_key(folder, record)
        known = self._known(key)
        if known is not None:
            return known
        pool = self._find_pool(key)
        if pool is None:
            raise ModelError(
                f"{folder}: the texts that this head was trained on are not in the campaign's database. "
                "Restore the database that belongs to it."
            )
        return self.read_pool(pool)


def rows_in(pool: ReadPool, examples: Sequence[tuple[Item, JsonValue]]) -> IntArray:
    """Return the rows of examples in a pool, (n,).

    Raises:
        ValueError: An example is not in the pool.
    """
    rows_n = pool.rows_of([item.item_id for item, _ in examples])
    if (rows_n < 0).any():
        item, _ = examples[int(rows_n.argmin())]
        raise ValueError(f"item {item.item_id} is not in the pool that the head is trained on")
    return rows_n


def _pool_key(folder: Path, record: Mapping[str, Any]) -> str:
    key = record.get("pool")
    if not isinstance(key, str):
        raise damaged(folder, "it names no pool")
    return key


def _content_of(folder: Path) -> str:
    """Return a hash of a head's files, so that a folder that changed is read again."""
    digest = hashlib.sha256()
    try:
        for file in sorted(folder.iterdir()):
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
    except OSError as exc:
        raise damaged(folder, exc) from exc
    return digest.hexdigest()
