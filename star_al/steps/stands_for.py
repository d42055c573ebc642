"""What a text stands for, in words: how many texts of the pool it covers that no question covered before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from star_al import rng
from star_al.acquire.coverage import SAMPLE, newly_covered, similar_from
from star_al.acquire.kernels import Points
from star_al.common.wording import count
from star_al.parts import RoundParts
from star_al.steps.embeddings import PoolSample, directions, pool_sample, text_embeddings

_BLOCK = 2048


def stands_for(
    parts: RoundParts, item_ids: Sequence[str], known: Sequence[str], sample: PoolSample | None = None
) -> list[str]:
    """Say of each question how many texts of the pool it is the first to cover.

    Args:
        parts: The round.
        item_ids: The questions, in order.
        known: Ids of the questions before them.
        sample: Texts that stand for the pool; None to embed them.

    Returns:
        A phrase that ends in a comma for each question; empty if all its like are covered.
    """
    sample = sample or pool_sample(parts)
    if not (item_ids and sample.item_ids):
        return [""] * len(item_ids)
    chosen_B_d = directions(text_embeddings(parts, None, item_ids), sample.centre_d)
    known_L_d = chosen_B_d[:0]
    if known:
        known_L_d = directions(text_embeddings(parts, None, known), sample.centre_d)
    similar = similar_from(_some(parts, sample.points_N_d))
    counts_B = newly_covered(_blocks(sample.points_N_d), chosen_B_d, known_L_d, similar)
    share = sample.pool_size / len(sample.item_ids)
    return [_in_words(round(n * share), exact=share == 1.0) for n in counts_B.tolist()]


def stands_for_in_top(
    points_M_d: Points, positions: Sequence[int], known_L_d: Points, parts: RoundParts
) -> list[str]:
    """Say the same of the top of a ranking, where embedding the pool would take long.

    Args:
        points_M_d: Unit vectors of the top.
        positions: Positions of the questions in it, in order.
        known_L_d: Unit vectors of the questions before them.
        parts: The round.
    """
    similar = similar_from(_some(parts, points_M_d))
    counts_B = newly_covered(_blocks(points_M_d), points_M_d[list(positions)], known_L_d, similar)
    return [
        f"stands for {n:,} of them that no question has covered, " if n else "" for n in counts_B.tolist()
    ]


def _in_words(n: int, *, exact: bool) -> str:
    if n == 0:
        return ""
    return f"stands for {'' if exact else 'about '}{count(n, 'text')} that no question has covered, "


def _some(parts: RoundParts, points_N_d: Points) -> Points:
    """A random part of the points, the same whenever the points are."""
    if len(points_N_d) <= SAMPLE:
        return points_N_d
    random = rng.generator(parts.campaign.seed, 0, "similar pairs")
    return points_N_d[np.sort(random.choice(len(points_N_d), SAMPLE, replace=False))]


def _blocks(points_N_d: Points) -> list[Points]:
    return [points_N_d[start : start + _BLOCK] for start in range(0, len(points_N_d), _BLOCK)]
