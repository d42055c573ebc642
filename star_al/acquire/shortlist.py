"""A shortlist: the part of a pool that is scored again, with a random share that tells what it misses.

The shortlist holds the texts that an earlier or cheaper ranking puts first, and a random sample of the others. All
are scored alike, so a text of the sample that would make the batch makes it. The sample is drawn without replacement
from the R texts that the ranking left out. If h of its n texts score above the border of the batch, R·h/n of the R do
in expectation, so (R/n − 1)·h of those that were not scored. The border is that of the ranked texts alone, so it does
not depend on the sample; with a blend it does a little, as scores are normalised over all texts (docs/methods.md,
"Shortlist").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from star_al import rng
from star_al.acquire.ranking import rank_order
from star_al.types import BoolArray, FloatArray

CONFIDENCE = 0.95
"""Confidence of the bound on the texts that were missed."""


@dataclass(frozen=True)
class Shortlist:
    """What is scored of a pool.

    Attributes:
        item_ids: Sorted ids of all that is scored.
        drawn: Those of them that were drawn at random.
    """

    item_ids: tuple[str, ...]
    drawn: frozenset[str]


def shortlist(
    item_ids: Sequence[str], scores_N: FloatArray, size: int, random_share: float, seed: int
) -> Shortlist:
    """Choose what to score of a pool.

    Args:
        item_ids: The N sorted ids of the pool.
        scores_N: Scores that are known already, higher for less certain items; NaN for an item without one.
        size: How many of the items with a score to take. Items without one are all taken besides.
        random_share: Share of ``size`` that is drawn at random from the items that the ranking leaves out.
        seed: Seed of the draw, which depends on the ids alone.

    Returns:
        The shortlist; the whole pool, with nothing drawn, if it has no more items with a score than ``size``.
    """
    known_N = np.isfinite(scores_N)
    if known_N.sum() <= size:
        return Shortlist(tuple(item_ids), frozenset())
    known = [item_ids[position] for position in np.flatnonzero(known_N)]
    order_M = rank_order(scores_N[known_N], known)
    n_drawn = math.ceil(random_share * size)
    ranked = {known[position] for position in order_M[: size - n_drawn]}
    drawn = frozenset(rng.draw((item_id for item_id in known if item_id not in ranked), n_drawn, seed))
    taken = tuple(
        item_id
        for item_id, is_known in zip(item_ids, known_N.tolist(), strict=True)
        if not is_known or item_id in ranked or item_id in drawn
    )
    return Shortlist(taken, drawn)


def texts_to_score(pool: int, share: float, size: int | None, depth: int, random_share: float) -> int:
    """How many texts a shortlist has.

    Args:
        pool: Texts of the pool.
        share: Share of them to score.
        size: How many to score in place of the share.
        depth: How many the batch is chosen from; so many are ranked at least.
        random_share: Share of the shortlist that is drawn at random.
    """
    asked = math.ceil(share * pool) if size is None else size
    return min(max(asked, least_texts(depth, random_share)), pool)


def least_texts(depth: int, random_share: float) -> int:
    """How many texts a shortlist has at least, if the batch is chosen from ``depth`` and a share is drawn at random."""
    return math.ceil(depth / (1.0 - random_share))


@dataclass(frozen=True)
class Missed:
    """How many texts that were not scored would be among those that the batch is chosen from.

    Attributes:
        estimate: The unbiased estimate.
        high: What they number at most, with a confidence of 95 %.
    """

    estimate: float
    high: int


def missed(scores_M: FloatArray, drawn_M: BoolArray, left_out: int, depth: int) -> Missed | None:
    """Estimate how many texts that were not scored would score above the border of what the batch is chosen from.

    Args:
        scores_M: Scores of the M texts that were scored.
        drawn_M: True for those that were drawn at random.
        left_out: R, the texts that the ranking left out, those drawn from them included.
        depth: How many texts the batch is chosen from. The border is the score of the last of so many, among those
            that were not drawn; with 0, no text is chosen by its score and none is missed.

    Returns:
        The estimate and its bound; None if nothing was drawn, though texts were left out.
    """
    n = int(drawn_M.sum())
    if left_out == n or depth == 0:
        return Missed(0.0, 0)
    if n == 0:
        return None
    ranked = np.sort(scores_M[~drawn_M])
    border = ranked[-min(depth, len(ranked))] if len(ranked) else -np.inf
    hits = int((scores_M[drawn_M] > border).sum())
    return Missed((left_out / n - 1.0) * hits, upper_bound(hits, n, left_out) - hits)


def upper_bound(hits: int, n: int, population: int, confidence: float = CONFIDENCE) -> int:
    """Bound how many of a population have a property, by a sample without replacement.

    It is the exact (Clopper-Pearson) bound of the hypergeometric distribution: the largest number with which so few
    hits, or fewer, still have a probability above 1 − ``confidence``.

    Args:
        hits: How many of the sample have it.
        n: Size of the sample.
        population: Size of the population.
        confidence: Confidence of the one-sided bound.
    """
    from scipy.stats import hypergeom

    low, high = hits, population - (n - hits)  # the most that the sample leaves possible
    while low < high:  # the probability falls with the number
        middle = (low + high + 1) // 2
        if hypergeom.cdf(hits, population, middle, n) > 1.0 - confidence:
            low = middle
        else:
            high = middle - 1
    return low
