"""The pool as a head reads it: features, offsets and nearest neighbours of all its texts."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass

from safetensors import SafetensorError

from star_al.common.files import disk_errors, replacing
from star_al.errors import StoreError
from star_al.head import (
    NEIGHBOURS,
    NeighbourGraph,
    PoolTexts,
    Search,
    exact_search,
    load_graph,
    neighbour_graph,
    save_graph,
)
from star_al.models.approximate_search import search_for
from star_al.models.head_texts import TextReader
from star_al.models.key_index import RowsById
from star_al.models.nearest_search import RememberingSearch
from star_al.ports import Pool
from star_al.types import Float32Array


@dataclass(frozen=True)
class HeadPool:
    """A pool that was read.

    Attributes:
        key: A hash of its ids; an artefact names the pool that it was trained on by it.
        rows_of: The rows of texts, by item id.
        texts: What the head reads of them.
        search: Finds the nearest of them for other texts.
    """

    key: str
    rows_of: RowsById
    texts: PoolTexts
    search: RememberingSearch


def read_pool(pool: Pool, reader: TextReader, neighbours: int | None) -> HeadPool:
    """Read all texts of a pool.

    Args:
        pool: The pool.
        reader: Reads its texts.
        neighbours: Nearest texts to smooth over; 0 for none, None to let the head choose.

    Raises:
        ModelError: The encoder cannot be loaded, or it answers NaN.
        StoreError: The features cannot be written.
    """
    texts = reader.texts(pool.item_ids, pool.load, of_pool=True)
    graph: NeighbourGraph | None = None
    search: Search = exact_search
    if neighbours != 0:
        search = search_for(len(pool.item_ids))
        graph = _graph(reader, pool.key, texts.features["encoder"], max(NEIGHBOURS, neighbours or 0), search)
    return HeadPool(
        pool.key,
        RowsById(pool.item_ids),
        PoolTexts(texts.features, texts.offsets, graph),
        RememberingSearch(search),
    )


def _graph(
    reader: TextReader, key: str, embeddings_P_d: Float32Array, k: int, search: Search
) -> NeighbourGraph:
    """Return the pool's nearest neighbours; for 100,000 texts they take minutes, so they are kept."""
    folder = reader.folder / "neighbours"
    # The encoder's fingerprint is part of the name, since the same ids have other neighbours under another encoder.
    path = folder / f"{hashlib.sha256(f'{reader.encoder.fingerprint}/{key}/{k}'.encode()).hexdigest()[:32]}"
    with suppress(OSError, SafetensorError, KeyError):  # there is none, or a damaged one
        return load_graph(path)
    with reader.progress.task("Finding the nearest texts of each text", None):
        graph = neighbour_graph(embeddings_P_d, k, search)
    advice = "Check the folder and the disk, then run again."
    with disk_errors(StoreError, f"{path}: the neighbours of texts cannot be written", advice):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as written:
            save_graph(graph, written)
    del graph  # with the similarities, which a head does not read
    return load_graph(path)
