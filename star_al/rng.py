"""Every random choice, from the campaign's seed, the round and the purpose.

Two forms: a generator for one step, and keyed hashes that give each item its own number whatever the order
in which items arrive, so that a draw over a stream of a million items needs no shuffle and no list of them.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

import numpy as np


def derive_seed(campaign_seed: int, round_index: int, purpose: str) -> int:
    """A seed in [0, 2⁶³), from SHA-256: the same on every machine, unrelated between purposes and rounds."""
    digest = hashlib.sha256(f"{campaign_seed}/{round_index}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(campaign_seed: int, round_index: int, purpose: str) -> np.random.Generator:
    """A fresh generator seeded by ``derive_seed``."""
    return np.random.default_rng(derive_seed(campaign_seed, round_index, purpose))


def keyed_order(seed: int, item_id: str) -> str:
    """A random-looking sort key, 64 hex digits; ``seed`` comes from ``derive_seed``, one for each use."""
    return hashlib.sha256(f"{seed}/{item_id}".encode()).hexdigest()


def keyed_uniform(seed: int, item_id: str) -> float:
    """A number in [0, 1) that belongs to the item; its order over items is that of ``keyed_order``."""
    return (int(keyed_order(seed, item_id)[:16], 16) >> 11) / 2**53


def keyed_sorted(item_ids: Iterable[str], seed: int) -> list[str]:
    """All ids in the order of their keys: one that joins later finds its place and moves no other."""
    return sorted(item_ids, key=lambda item_id: keyed_order(seed, item_id))


def draw(item_ids: Iterable[str], n: int, seed: int) -> tuple[str, ...]:
    """``n`` ids at random without replacement: those of the smallest keys, by key; all when fewer.

    Reads ``item_ids`` (distinct) once and keeps ``n`` of them.
    """
    return tuple(heapq.nsmallest(n, item_ids, key=lambda item_id: keyed_order(seed, item_id)))
