"""The language model that a campaign trains."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, overload

from star_al.ports.annotator import LoadItems
from star_al.ports.progress import Advance
from star_al.types import BasePrediction, Float32Array, FloatArray, Item, JsonObject, JsonValue, Predictions

NO_SAMPLES = range(0)
"""As ``draws``, asks a model that writes answers for its likeliest one alone, by the posterior's mean or mode."""


_HASHED = 10_000  # ids that are joined at once


@dataclass(frozen=True)
class Pool:
    """All texts of a campaign's pool, labelled or not, that had joined it by some round.

    Attributes:
        item_ids: Their ids, sorted.
        load: Loads some of them, in the order of the ids given.
    """

    item_ids: tuple[str, ...]
    load: LoadItems

    @cached_property
    def key(self) -> str:
        """A hash of the ids."""
        digest = hashlib.sha256()
        for first in range(0, len(self.item_ids), _HASHED):
            page = "\n".join(self.item_ids[first : first + _HASHED])
            digest.update((f"\n{page}" if first else page).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class StoredItems(Sequence[Item]):
    """Items of a campaign that are loaded when one of them is looked at.

    A head that knows the features of these items needs their ids alone, and a database takes seconds to give
    100,000 texts.

    Attributes:
        item_ids: Their ids.
        load: Loads some of them, in the order of the ids given.
    """

    item_ids: tuple[str, ...]
    load: LoadItems

    @cached_property
    def _items(self) -> list[Item]:
        return self.load(self.item_ids)

    def __len__(self) -> int:
        return len(self.item_ids)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self._items[index]


def ids_of(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the ids of items; items that are stored are not loaded for it."""
    return items.item_ids if isinstance(items, StoredItems) else tuple(item.item_id for item in items)


@dataclass(frozen=True)
class Taught:
    """Texts of the pool with another model's answers, on which a model is trained beside what people answered.

    Attributes:
        items: The texts (M); none of them is labelled or held out.
        probs_M_C: The other model's probabilities; rows sum to 1, and an option that an item lacks has 0.
        weight: What one of these texts counts in the loss, against one that people answered.
    """

    items: Sequence[Item]
    probs_M_C: FloatArray
    weight: float

    def __len__(self) -> int:
        return len(self.items)


class Learner(Protocol):
    """What a campaign trains: a language model with an adapter, or a head. Its posterior can be sampled.

    It reads only texts and options.
    """

    @property
    def base_key(self) -> str:
        """A hash of all that base predictions depend on but the pool: weights, dtype, prompt, labels, truncation."""

    @property
    def base_reads_pool(self) -> bool:
        """True if base predictions depend on the pool as well, as those of a head do."""

    @property
    def truncated(self) -> int:
        """How many different items so far had their text or options cut to fit the model."""

    def check(self, items: Sequence[Item] = ()) -> None:
        """Load the model and try all that a campaign will do with it, before a label is asked for.

        Checks the weights, the prompt and the labels, that there is a row for each token, and one step of
        training and one sample of the posterior. It changes nothing, and runs once in a process.

        Args:
            items: Some texts of the campaign, the longest among them; without any, a short one stands in.

        Raises:
            ModelError, ConfigError: Something cannot be used; the message says what and why.
        """

    def versions(self) -> JsonObject:
        """Libraries, device and dtype, for the record of a round."""

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """Predict with the frozen base model, adapter off, in the order of ``items``.

        Args:
            items: What to predict.
            advance: Counts items.
            pool: The campaign's first pool, if base predictions depend on it; None for each text by itself.

        Raises:
            ModelError: The model cannot be loaded or its answers are NaN.
        """

    def with_other_prompt(self) -> Learner | None:
        """The same model, asked by a plain prompt in place of its chat template, or the reverse.

        Returns:
            A learner to predict with the base model; None if the model has no chat template.
        """

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        """How many optimiser steps ``fit`` takes on this many examples and taught texts."""

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
        """Train an adapter. The same arguments on the same machine write the same bytes.

        Args:
            examples: (item, label value) pairs.
            pool: The pool of the round. A head is standardised on it and smoothed over it.
            seed: Of initialisation, order and dropout.
            folder: An empty folder to write the adapter into.
            parent: The folder of the adapter to start from (warm start), or ``None``.
            advance: Counts optimiser steps.
            taught: Texts with the answers of another model, which a language model learns beside the examples.

        Returns:
            The kind of the artefact.

        Raises:
            ModelError: The loss is not finite, or the model cannot be loaded.
        """

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
        """Predict with samples of the posterior, in the order of ``items``.

        Args:
            folder: Folder of the adapter; ``None`` for the base model (K = 1).
            items: What to predict.
            draws: The numbers k of the samples; ``None`` for the posterior's mean or mode (K = 1). Where answers are
                written, ``NO_SAMPLES`` for the likeliest one alone, of which only signals are known (K = 1).
            seed: With k alone it decides sample k, so calls with other items or other draws share their
                function samples.
            advance: Counts items.
            tolerance: Total variation distance between a sample's prediction and the exact one, at most. A learner
                may use it to save time.

        Raises:
            ModelError: The adapter is damaged or the predictions are not finite.
        """

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
        """Write an adapter so that other programs can predict with it.

        Args:
            folder: The adapter.
            out: An empty folder.
            draws: The samples that a prediction averages over; ``None`` for the posterior's mean or mode.
            seed: Their seed.
            merged: Write whole weights, which need no base model.
            examples: Texts on which to check that what was written reads them as the campaign does.

        Returns:
            What a program needs to know to use the folder.

        Raises:
            ModelError: The posterior is no adapter that other programs can load.
            StoreError: The folder cannot be written.
        """

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """Embed items by the model's last hidden state at the end of the prompt, from which it answers.

        Args:
            folder: Folder of the adapter, used at the mean or mode of its posterior; ``None`` for the base model.
            items: What to embed.
            advance: Counts items.

        Returns:
            (N, d), finite, in the order of ``items``.

        Raises:
            ModelError: The adapter is damaged or the embeddings are not finite.
        """
