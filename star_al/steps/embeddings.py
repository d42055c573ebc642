"""Embeddings of a campaign's texts, for rules that compare texts by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.embeddings import centred_directions
from star_al.common.paging import pages
from star_al.parts import Parts, RoundParts
from star_al.ports import Embed, Learner
from star_al.steps.pool import SHARD_ITEMS, candidates, stored_items
from star_al.types import Float32Array, FloatArray

POOL_TEXTS = 10_000
"""A rule that compares all texts of the pool looks at this many random ones of a larger pool."""


@dataclass(frozen=True)
class PoolSample:
    """Texts that stand for the pool, as directions from their centre.

    Attributes:
        item_ids: Their sorted ids: all candidates, or ``POOL_TEXTS`` random ones.
        points_N_d: Their directions.
        centre_d: The centre.
        pool_size: Number of candidates.
    """

    item_ids: tuple[str, ...]
    points_N_d: Float32Array
    centre_d: FloatArray
    pool_size: int


def pool_sample(parts: RoundParts) -> PoolSample:
    """Embed the pool, or a random part of it that changes little from round to round."""
    pool = candidates(parts)
    seed = rng.derive_seed(parts.campaign.seed, 0, "pool sample")
    item_ids = tuple(sorted(rng.draw(pool, POOL_TEXTS, seed)))
    if not item_ids:
        return PoolSample((), np.zeros((0, 1), np.float32), np.zeros(1), 0)
    embeddings_N_d = text_embeddings(parts, None, item_ids)
    centre_d = embeddings_N_d.mean(axis=0, dtype=np.float64)
    return PoolSample(item_ids, directions(embeddings_N_d, centre_d), centre_d, len(pool))


def directions(embeddings_N_d: Float32Array, centre_d: FloatArray) -> Float32Array:
    """Directions of embeddings from a centre, in single precision for many texts (N, d)."""
    return centred_directions(embeddings_N_d, centre_d).astype(np.float32)


def text_embeddings(parts: Parts, adapter_folder: Path | None, item_ids: Sequence[str]) -> Float32Array:
    """Embeddings (N, d) by which texts are compared.

    They are a sentence encoder's where there is a head, whatever was trained since; else those of the language model.
    Learners keep those of frozen models, so that each text is read once; an adapter changes them each round.

    Args:
        parts: The campaign.
        adapter_folder: The language model's adapter; None for the base model.
        item_ids: At least one item.
    """
    if parts.head is not None:
        return embed(parts, parts.head, None, item_ids)
    return embed(parts, parts.learner, adapter_folder, item_ids)


def embed(
    parts: Parts, learner: Learner, adapter_folder: Path | None, item_ids: Sequence[str]
) -> Float32Array:
    """Embeddings (N, d) of at least one item; texts are read page by page, never all at once."""
    jobs = (Embed(adapter_folder, stored_items(parts, page)) for page in pages(item_ids, SHARD_ITEMS))
    with parts.progress.task("Embedding", len(item_ids)) as advance:
        return np.concatenate(list(parts.compute.each(learner, jobs, advance)))
