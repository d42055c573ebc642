"""What a head reads of texts: features and offsets. Features are computed once a text and kept by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from star_al.config.spec import CampaignSpec
from star_al.head import LABEL_NAMES, LabelNames, TextFeatures, name_text
from star_al.models.encoded import Encoded
from star_al.models.encoder import SentenceEncoder
from star_al.models.feature_store import FeatureStore, Positions, paged, text_key
from star_al.ports import Advance, LoadItems, Progress
from star_al.types import Float32Array, FloatArray, Item

_ROWS = 256  # texts that are compared with names at once


class LanguageModel(Protocol):
    """A frozen language model whose hidden states are features."""

    @property
    def states_key(self) -> str:
        """A hash of all that the states depend on."""

    def states(self, items: Sequence[Item], advance: Advance) -> Encoded:
        """The states of texts, and whether a text was cut."""


class TextReader:
    """Reads texts for a head. Nothing is loaded before it is needed.

    Args:
        spec: The campaign's settings.
        encoder_name: The sentence encoder's folder or hub name.
        open_encoder: Opens it.
        folder: Where features are kept.
        progress: Where long work is shown.
        keep: Keep the features of all texts; False for those of the pool alone.
        language_model: A model whose states are features as well; None for the encoder alone.
    """

    def __init__(
        self,
        spec: CampaignSpec,
        encoder_name: str,
        open_encoder: Callable[[], SentenceEncoder],
        folder: Path,
        progress: Progress,
        *,
        keep: bool = True,
        language_model: LanguageModel | None = None,
    ) -> None:
        self.encoder_name = encoder_name
        self.folder = folder
        self._spec = spec
        self._open_encoder = open_encoder
        self._progress = progress
        self._keep = keep
        self._language_model = language_model
        self._cut: set[str] = set()

    @cached_property
    def encoder(self) -> SentenceEncoder:
        """The sentence encoder.

        Raises:
            ModelError: It cannot be read.
        """
        return self._open_encoder()

    @property
    def keys(self) -> tuple[str, ...]:
        """Hashes of what the features depend on."""
        states = () if self._language_model is None else (self._language_model.states_key,)
        return (self.encoder.fingerprint, *states)

    @property
    def cut(self) -> int:
        """How many different texts so far were longer than the encoder reads."""
        return len(self._cut)

    # -- label names -----------------------------------------------------------------------------------

    @cached_property
    def label_texts(self) -> tuple[str, ...]:
        """What stands for each label: its description, or else its name."""
        return tuple(name_text(label.name, label.description) for label in self._spec.task.labels)

    @cached_property
    def label_embeddings_C_d(self) -> Float32Array:
        """Embeddings of ``label_texts``."""
        return self._encoded.rows(
            [text_key(text) for text in self.label_texts],
            paged(lambda page: self.encoder.encode([self.label_texts[position] for position in page])),
        ).vectors_N_d

    @cached_property
    def label_names(self) -> LabelNames:
        """The labels' names as the encoder reads them."""
        return LabelNames(self.label_embeddings_C_d)

    # -- texts -----------------------------------------------------------------------------------------

    def texts(self, item_ids: Sequence[str], load: LoadItems, *, of_pool: bool = False) -> TextFeatures:
        """Return what the head reads of texts.

        Args:
            item_ids: Their ids.
            load: Loads the texts whose features are not known yet.
            of_pool: True for texts of the pool, whose features are always kept.
        """
        encoded_N_d = self.embeddings(item_ids, load, of_pool=of_pool)
        features = {"encoder": encoded_N_d}
        if self._language_model is not None:
            features["model"] = self._states(self._language_model, item_ids, load, of_pool=of_pool)
        return TextFeatures(features, self._offsets(encoded_N_d))

    def embeddings(self, item_ids: Sequence[str], load: LoadItems, *, of_pool: bool = False) -> Float32Array:
        """Return the encoder's vectors of texts, (N, d), not normalised; arguments as for ``texts``."""

        def encode(items: Sequence[Item], advance: Advance) -> Encoded:
            return self.encoder.encode([text_of(item) for item in items], advance)

        reading = _Reading("Reading texts with the sentence encoder", item_ids, load, encode, self._progress)
        found = self._rows(self._encoded, reading, of_pool=of_pool)
        self._cut.update(item_ids[row] for row in np.flatnonzero(found.cut_N))
        return found.vectors_N_d

    def _states(
        self, model: LanguageModel, item_ids: Sequence[str], load: LoadItems, *, of_pool: bool
    ) -> Float32Array:
        def encode(items: Sequence[Item], advance: Advance) -> Encoded:
            return model.states(items, advance)

        reading = _Reading("Reading texts with the language model", item_ids, load, encode, self._progress)
        return self._rows(self._stated, reading, of_pool=of_pool).vectors_N_d

    def _rows(self, store: FeatureStore, reading: _Reading, *, of_pool: bool) -> Encoded:
        """Return rows from the store, or compute them without it."""
        if self._keep or of_pool or not reading.item_ids:
            return store.rows(reading.item_ids, reading)
        pages = [page for _, page in reading(np.arange(len(reading.item_ids)))]
        return Encoded(
            np.concatenate([page.vectors_N_d for page in pages]),
            np.concatenate([page.cut_N for page in pages]),
        )

    def _offsets(self, encoded_N_d: Float32Array) -> Mapping[str, FloatArray]:
        if not self._spec.head.label_names:
            return {}
        return {LABEL_NAMES: self.name_similarities(encoded_N_d)}

    def name_similarities(self, encoded_N_d: Float32Array) -> FloatArray:
        """Return the similarities of encoded texts and the labels' names, (N, C).

        They are computed in blocks of one size: in products of other shapes, sums differ in their last bits, and a
        prediction would depend on what is predicted with it.
        """
        found = np.empty((len(encoded_N_d), len(self.label_texts)))
        for first in range(0, len(found), _ROWS):
            block = encoded_N_d[first : first + _ROWS]
            padded = np.zeros((_ROWS, block.shape[1]), dtype=np.float32)
            padded[: len(block)] = block
            found[first : first + _ROWS] = self.label_names.similarities(padded)[: len(block)]
        return found

    @cached_property
    def _encoded(self) -> FeatureStore:
        return self._store(self.encoder.fingerprint)

    @cached_property
    def _stated(self) -> FeatureStore:
        assert self._language_model is not None
        return self._store(self._language_model.states_key)

    def _store(self, fingerprint: str) -> FeatureStore:
        limit = int(self._spec.head.cache_gb * 1e9)
        return FeatureStore(self.folder, fingerprint, limit, self._progress.say)


def text_of(item: Item) -> str:
    """Return what is read of an item; one question with other options is another item."""
    return "\n".join((item.text, *item.options))


def some_of(texts: TextFeatures, rows: Sequence[int]) -> TextFeatures:
    """Return some rows of what is read of texts."""
    return TextFeatures(
        {kind: values[rows] for kind, values in texts.features.items()},
        {name: values[rows] for name, values in texts.offsets.items()},
    )


@dataclass(frozen=True)
class _Reading:
    """Reads the texts at some positions, page by page, and shows how far it is."""

    what: str
    item_ids: Sequence[str]
    load: LoadItems
    encode: Callable[[Sequence[Item], Advance], Encoded]
    progress: Progress

    def __call__(self, positions: Positions) -> Iterator[tuple[Positions, Encoded]]:
        with self.progress.task(self.what, len(positions)) as advance:
            yield from paged(lambda page: self._page(page, advance))(positions)

    def _page(self, page: Positions, advance: Advance) -> Encoded:
        return self.encode(self.load([self.item_ids[position] for position in page]), advance)
