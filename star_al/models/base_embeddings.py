"""Embeddings of texts by the frozen language model, computed once a text and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from star_al.models.encoded import Encoded
from star_al.models.feature_store import FeatureStore, Positions, paged
from star_al.ports import Advance, ids_of
from star_al.types import Float32Array, Item

KEPT = "kept"
"""What a round records whose embeddings by the base model are kept; earlier ones record nothing."""

_VERSION = 1  # of what the embeddings are


class BaseEmbeddings:
    """Embeddings by one frozen model and prompt.

    Args:
        folder: Where they are kept; None to keep none.
        depends_on: What they depend on: the model, the prompt and the dtype.
        limit: Bytes that the folder may take, features for a head included.
        say: Called with messages for the user.
    """

    def __init__(
        self, folder: Path | None, depends_on: Sequence[str], limit: int, say: Callable[[str], None]
    ) -> None:
        key = hashlib.sha256(json.dumps(["base embeddings", _VERSION, *depends_on]).encode()).hexdigest()
        self._store = None if folder is None else FeatureStore(folder, key, limit, say)

    def of(
        self,
        items: Sequence[Item],
        encode: Callable[[Sequence[Item], Advance], Encoded],
        advance: Advance,
    ) -> Float32Array:
        """Return the embeddings of items, (N, d).

        Args:
            items: The items.
            encode: Embeds those that are missing; an item gets the same bits whatever is embedded with it.
            advance: Counts items.
        """
        if self._store is None or not len(items):
            return encode(items, advance).vectors_N_d
        missing: list[int] = []

        def encode_page(page: Positions) -> Encoded:
            missing.extend(page.tolist())
            return encode([items[position] for position in page], advance)

        found = self._store.rows(ids_of(items), paged(encode_page))
        advance(len(items) - len(missing))
        return np.array(found.vectors_N_d)  # a copy: the rows on disk are mapped, and not to be written to
