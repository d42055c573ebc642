"""Random choices, each a function of the campaign's seed, the round and the purpose.

There are two forms: a generator for one step, and keyed hashes, which give each item its own random number
whatever the order of the items. So a draw from a stream of a million items needs no shuffle and no list.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence

import numpy as np


def derive_seed(campaign_seed: int, round_index: int, purpose: str) -> int:
    """A seed in [0, 2⁶³): the same on every machine, and unrelated to that of another purpose or round."""
    digest = hashlib.sha256(f"{campaign_seed}/{round_index}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(campaign_seed: int, round_index: int, purpose: str) -> np.random.Generator:
    """A new generator with the seed of ``derive_seed``."""
    return np.random.default_rng(derive_seed(campaign_seed, round_index, purpose))


def keyed_order(seed: int, item_id: str) -> str:
    """A random sort key of 64 hex digits; each use takes a ``seed`` of its own from ``derive_seed``."""
    return hashlib.sha256(f"{seed}/{item_id}".encode()).hexdigest()


def keyed_uniform(seed: int, item_id: str) -> float:
    """A random number in [0, 1) for the item, in the same order over items as ``keyed_order``."""
    return (int(keyed_order(seed, item_id)[:16], 16) >> 11) / 2**53


def keyed_sorted(item_ids: Iterable[str], seed: int) -> list[str]:
    """All ids in random order; an id that is added later leaves the order of the others as it is."""
    return sorted(item_ids, key=lambda item_id: keyed_order(seed, item_id))


def draw(item_ids: Iterable[str], n: int, seed: int) -> tuple[str, ...]:
    """Draw ``n`` of the distinct ids at random without replacement; all of them if there are fewer.

    ``item_ids`` is read once, and only ``n`` ids are held in memory.
    """
    return tuple(heapq.nsmallest(n, item_ids, key=lambda item_id: keyed_order(seed, item_id)))


def draw_by_weight(item_ids: Sequence[str], weights: Sequence[float], n: int, seed: int) -> tuple[str, ...]:
    """Draw ``n`` of the distinct ids without replacement, each next with odds by its weight.

    The weighted reservoir of Efraimidis and Spirakis (2006): the n smallest −log(random)/weight.

    Args:
        item_ids: The ids.
        weights: Their weights; ids whose weight is not above 0 come last, by chance.
        n: How many to draw; all of them if there are fewer.
        seed: Seed of ``keyed_uniform``, which gives each id its own number.
    """

    def key(pair: tuple[str, float]) -> tuple[bool, float]:
        random = keyed_uniform(seed, pair[0])
        return (True, random) if pair[1] <= 0 else (False, -math.log1p(-random) / pair[1])

    return tuple(item_id for item_id, _ in heapq.nsmallest(n, zip(item_ids, weights, strict=True), key=key))
