"""Rankings of items by score or by chance.

A result depends on ids, scores and the state of the generator only, never on the order of the input.
``scores_N`` are higher for less certain items and belong to ``item_ids`` by position; ids are distinct.
Batches are in the order in which to ask, the most uncertain item first. A batch larger than the pool is the
whole pool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from star_al.types import FloatArray, IntArray


def rank_order(scores_N: FloatArray, item_ids: Sequence[str]) -> IntArray:
    """Return positions by descending score, equal scores by ascending id, (N,).

    Raises:
        ValueError: A score is NaN or infinite, or there is not one for each id.
    """
    _check(scores_N, item_ids)
    by_id_N = _id_order(item_ids)
    return by_id_N[np.argsort(-scores_N[by_id_N], kind="stable")]


def top_k(scores_N: FloatArray, item_ids: Sequence[str], k: int) -> tuple[str, ...]:
    """Return the ``k`` most uncertain ids.

    Args:
        scores_N: Uncertainties.
        item_ids: The N ids.
        k: How many to return; all if there are fewer.

    Raises:
        ValueError: As ``rank_order``, or ``k`` is negative.
    """
    return _take(item_ids, rank_order(scores_N, item_ids), k)


def power_order(
    scores_N: FloatArray, item_ids: Sequence[str], beta: float, rng: np.random.Generator
) -> IntArray:
    """Positions (N,) in an order drawn without replacement, each next with probability ∝ score^β.

    The order of log score + Gumbel noise of scale 1/β. Items that score 0 come after all others, at random
    among themselves. Source: Kirsch et al. 2023, "Stochastic Batch Acquisition", arXiv 2106.12059.

    Args:
        scores_N: Uncertainties of at least 0.
        item_ids: The N ids.
        beta: β; the larger, the closer the order is to that of the scores.
        rng: Source of the noise.

    Raises:
        ValueError: As ``rank_order``, a negative score, or β not above 0.
    """
    _check(scores_N, item_ids)
    if not beta > 0:
        raise ValueError(f"beta is {beta}, expected above 0")
    if (scores_N < 0).any():
        raise ValueError(f"power sampling needs scores of at least 0, the lowest is {scores_N.min()}")
    by_id_N = _id_order(item_ids)
    noise_N = power_noise(len(by_id_N), beta, rng)
    with np.errstate(divide="ignore"):
        perturbed_N = np.log(scores_N[by_id_N]) + noise_N
    drawn_N: IntArray = by_id_N[np.lexsort((-noise_N, -perturbed_N))]
    return drawn_N


def power_noise(n: int, beta: float, rng: np.random.Generator) -> FloatArray:
    """Return what power sampling adds to log scores, (n,); in the order of ids, so that it belongs to the item.

    Args:
        n: The number of items.
        beta: β; the noise has the scale 1/β.
        rng: Source of the noise.
    """
    return rng.gumbel(scale=1.0 / beta, size=n)


def random_order(item_ids: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Return all ids in a uniformly random order."""
    return _take(item_ids, rng.permutation(_id_order(item_ids)), len(item_ids))


def _id_order(item_ids: Sequence[str]) -> IntArray:
    """Return positions by ascending id."""
    # Python's sort takes linear time if ids are sorted already, as the store returns them.
    return np.array(sorted(range(len(item_ids)), key=item_ids.__getitem__), dtype=np.int64)


def _take(item_ids: Sequence[str], positions_N: IntArray, k: int) -> tuple[str, ...]:
    if k < 0:
        raise ValueError(f"a batch of {k} items")
    return tuple(item_ids[position] for position in positions_N[:k])


def _check(scores_N: FloatArray, item_ids: Sequence[str]) -> None:
    if scores_N.shape != (len(item_ids),):
        raise ValueError(f"scores of shape {scores_N.shape} for {len(item_ids)} ids")
    if not np.isfinite(scores_N).all():
        raise ValueError(f"the score of {item_ids[int(np.isfinite(scores_N).argmin())]} is not finite")
