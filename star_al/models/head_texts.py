"""What a head reads of texts: features and offsets. Features are computed once a text and kept by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from star_al.config.spec import CampaignSpec
from star_al.head import LABEL_NAMES, LabelNames, TextFeatures, name_text
from star_al.models.encoded import Encoded
from star_al.models.encoder import SentenceEncoder
from star_al.models.feature_store import FeatureStore, Positions, paged, text_key
from star_al.ports import Advance, LoadItems, Progress
from star_al.types import Float32Array, FloatArray, Item, JsonObject

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
        self.spec = spec
        self._open_encoder = open_encoder
        self.progress = progress
        self._keep = keep
        self._language_model = language_model
        self._cut: set[str] = set()
        self._stores: dict[str, FeatureStore] = {}

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

    def versions(self) -> JsonObject:
        """Return libraries, device, and a hash of the encoder's weights."""
        return {
            **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "sentence-transformers")},
            "device": str(self.encoder.device),
            "dtype": self.encoder.dtype,
            "encoder": self.spec.head.encoder,
            "weights": self.encoder.fingerprint,
        }

    @property
    def cut(self) -> int:
        """How many different texts so far were longer than the encoder reads."""
        return len(self._cut)

    def note_cut(self, item_ids: Sequence[str]) -> None:
        """Count texts that were longer than the encoder reads."""
        self._cut.update(item_ids)

    # -- label names -----------------------------------------------------------------------------------

    @cached_property
    def label_texts(self) -> tuple[str, ...]:
        """What stands for each label: its description, or else its name."""
        return tuple(name_text(label.name, label.description) for label in self.spec.task.labels)

    @cached_property
    def label_embeddings_C_d(self) -> Float32Array:
        """Embeddings of ``label_texts``."""
        return (
            self._store(self.encoder.fingerprint)
            .rows(
                [text_key(text) for text in self.label_texts],
                paged(lambda page: self.encoder.encode([self.label_texts[position] for position in page])),
            )
            .vectors_N_d
        )

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

        reading = _Reading("Reading texts with the sentence encoder", item_ids, load, encode, self.progress)
        found = self.kept_rows(self.encoder.fingerprint, reading, of_pool=of_pool)
        self.note_cut([item_ids[row] for row in np.flatnonzero(found.cut_N)])
        return found.vectors_N_d

    def _states(
        self, model: LanguageModel, item_ids: Sequence[str], load: LoadItems, *, of_pool: bool
    ) -> Float32Array:
        def encode(items: Sequence[Item], advance: Advance) -> Encoded:
            return model.states(items, advance)

        reading = _Reading("Reading texts with the language model", item_ids, load, encode, self.progress)
        return self.kept_rows(model.states_key, reading, of_pool=of_pool).vectors_N_d

    def kept_rows(self, fingerprint: str, reading: Reading, *, of_pool: bool) -> Encoded:
        """Return rows that are kept, or compute them; they are kept if they are the pool's or all are to be kept.

        Args:
            fingerprint: Of what computes the rows.
            reading: Computes them.
            of_pool: True for rows of the pool.
        """
        if self._keep or of_pool or not reading.keys:
            return self._store(fingerprint).rows(reading.keys, reading)
        pages = [page for _, page in reading(np.arange(len(reading.keys)))]
        return Encoded(
            np.concatenate([page.vectors_N_d for page in pages]),
            np.concatenate([page.cut_N for page in pages]),
        )

    def _offsets(self, encoded_N_d: Float32Array) -> Mapping[str, FloatArray]:
        if not self.spec.head.label_names:
            return {}
        return {LABEL_NAMES: self.name_similarities(encoded_N_d)}

    def name_similarities(self, encoded_N_d: Float32Array) -> FloatArray:
        """Return the similarities of encoded texts and the labels' names, (N, C).

        They are computed in blocks of one size: in products of other shapes, sums differ in their last bits, and a
        prediction would depend on what is predicted with it. With AVX2 it still does, since a row's last bits depend on
        its place in the block.
        """
        found = np.empty((len(encoded_N_d), len(self.label_texts)))
        for first in range(0, len(found), _ROWS):
            block = encoded_N_d[first : first + _ROWS]
            padded = np.zeros((_ROWS, block.shape[1]), dtype=np.float32)
            padded[: len(block)] = block
            found[first : first + _ROWS] = self.label_names.similarities(padded)[: len(block)]
        return found

    def _store(self, fingerprint: str) -> FeatureStore:
        if fingerprint not in self._stores:
            limit = int(self.spec.head.cache_gb * 1e9)
            self._stores[fingerprint] = FeatureStore(self.folder, fingerprint, limit, self.progress.say)
        return self._stores[fingerprint]


def text_of(item: Item) -> str:
    """Return what is read of an item; one question with other options is another item."""
    return "\n".join((item.text, *item.options))


def loader_of(items: Sequence[Item]) -> LoadItems:
    """Return what loads some of the items by their ids."""

    def load(item_ids: Sequence[str]) -> list[Item]:
        by_id = {item.item_id: item for item in items}
        return [by_id[item_id] for item_id in item_ids]

    return load


def some_of(texts: TextFeatures, rows: Sequence[int]) -> TextFeatures:
    """Return some rows of what is read of texts."""
    return TextFeatures(
        {kind: values[rows] for kind, values in texts.features.items()},
        {name: values[rows] for name, values in texts.offsets.items()},
    )


class Reading(Protocol):
    """Computes rows of features page by page."""

    @property
    def keys(self) -> Sequence[str]:
        """A key for each row."""

    def __call__(self, positions: Positions) -> Iterator[tuple[Positions, Encoded]]:
        """Yield the rows at some positions."""


@dataclass(frozen=True)
class _Reading:
    """Reads the texts at some positions, page by page, and shows how far it is."""

    what: str
    keys: Sequence[str]
    load: LoadItems
    encode: Callable[[Sequence[Item], Advance], Encoded]
    progress: Progress

    def __call__(self, positions: Positions) -> Iterator[tuple[Positions, Encoded]]:
        with self.progress.task(self.what, len(positions)) as advance:
            yield from paged(lambda page: self._page(page, advance))(positions)

    def _page(self, page: Positions, advance: Advance) -> Encoded:
        return self.encode(self.load([self.keys[position] for position in page]), advance)
