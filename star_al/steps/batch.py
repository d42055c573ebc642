"""Choose a batch from a ranking.

A batch that is diversified or under constraints is chosen within the top of the ranking
(``acquisition.batch.top``), or from the whole pool. If these are too few, the items below follow by rank.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_al import rng
from star_al.acquire.balance import Balance
from star_al.acquire.greedy import InOrder, Pick, greedy_batch
from star_al.acquire.ranking import power_order, rank_order, top_k
from star_al.parts import RoundParts
from star_al.steps.batch_rules import RULES, Candidates, Ranking, label_counts
from star_al.steps.embeddings import POOL_TEXTS
from star_al.steps.known import no_near_duplicates
from star_al.steps.stands_for import stands_for, stands_for_in_top
from star_al.task.columns import values_of
from star_al.types import IntArray


@dataclass(frozen=True)
class Chosen:
    """An item of a batch, and how it was chosen, in words; empty if by its rank alone."""

    item_id: str
    how: str = ""


def choose_batch(
    parts: RoundParts,
    ranking: Ranking,
    size: int,
    buffer: int = 0,
    *,
    without: Collection[str] = (),
) -> list[Chosen]:
    """Choose a batch by the round's rule and constraints.

    A longer batch starts with the shorter one, except with power sampling, whose batch and whose buffer are
    each in order of score.

    Args:
        parts: The round.
        ranking: The candidates with their scores.
        size: Items in the batch.
        buffer: Further items to choose.
        without: Ids of candidates to leave out.

    Returns:
        The batch in the order in which to label it, then the buffer; fewer items if there are fewer candidates.
    """
    batch = parts.spec.acquisition.batch
    order = _order(parts, ranking)
    # Left out only now: the noise of power sampling is drawn for all candidates, as adaptive sampling has assumed.
    if without:
        left_out = frozenset(without)
        order = order[[ranking.item_ids[position] not in left_out for position in order]]
    is_plain = not (batch.diversifies or batch.balance or batch.near_duplicates is not None)
    looked_at = order[:0] if is_plain else _looked_at(parts, ranking, order)
    chosen = []
    if len(looked_at):
        drawn = batch.covers_pool and len(looked_at) < len(order)
        chosen = _by_rule(Candidates(parts, ranking, looked_at, drawn=drawn), size + buffer)
    how = _BY_RANK.get(batch.kind, "") if is_plain else f"below the top {len(looked_at)}, "
    rest = order[~np.isin(order, looked_at)][: size + buffer - len(chosen)]
    chosen += [Chosen(ranking.item_ids[position], how) for position in rest]
    # Sorted apart: in one list, a high score would lift an item from the buffer into the batch.
    if batch.kind == "power":
        return [*_by_score(chosen[:size], ranking), *_by_score(chosen[size:], ranking)]
    return chosen


def different_texts(parts: RoundParts, order: Sequence[str], size: int) -> list[str]:
    """The first ``size`` items of an order; near-duplicates of others come last, if the round skips them.

    Only the first ``acquisition.batch.top`` items are compared.
    """
    within = list(order[: max(parts.spec.acquisition.batch_top, size)])
    constraints = no_near_duplicates(parts, within)
    if not constraints:
        return list(order[:size])
    return [within[pick.position] for pick in greedy_batch(InOrder(), constraints, len(within), size)]


_BY_RANK: Mapping[str, str] = {"power": "drawn by power sampling, "}
_DIVERSIFIED: Mapping[str, str] = {
    "batchbald": "BatchBALD",
    "badge": "BADGE",
    "k_centre": "k-centre",
    "facility_location": "facility location",
    "cluster_margin": "cluster-margin",
    "uncertainty_herding": "uncertainty herding",
    "idds": "IDDS",
}


def _order(parts: RoundParts, ranking: Ranking) -> IntArray:
    """Positions of the candidates, ordered by score alone."""
    batch = parts.spec.acquisition.batch
    if batch.kind == "power":
        random = rng.generator(parts.campaign.seed, parts.round.index, "select")
        return power_order(ranking.scores_N, ranking.item_ids, batch.beta, random)
    return rank_order(ranking.scores_N, ranking.item_ids)


def _by_score(chosen: Sequence[Chosen], ranking: Ranking) -> list[Chosen]:
    by_id = {each.item_id: each for each in chosen}
    place = {item_id: position for position, item_id in enumerate(ranking.item_ids) if item_id in by_id}
    scores_M = ranking.scores_N[list(place.values())]
    return [by_id[item_id] for item_id in top_k(scores_M, list(place), len(place))]


def _looked_at(parts: RoundParts, ranking: Ranking, order: IntArray) -> IntArray:
    """Positions that the batch is chosen from, in order: the top, or the pool; of a large pool, some by score."""
    acquisition = parts.spec.acquisition
    if not acquisition.batch.covers_pool:
        return order[: acquisition.batch_top]
    if len(order) <= POOL_TEXTS:
        return order
    item_ids = [ranking.item_ids[position] for position in order]
    seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "pool by score")
    drawn = set(rng.draw_by_weight(item_ids, ranking.scores_N[order].tolist(), POOL_TEXTS, seed))
    return order[[item_id in drawn for item_id in item_ids]]


def _by_rule(texts: Candidates, k: int) -> list[Chosen]:
    """Choose ``k`` items by the batch's rule under its constraints."""
    constraints = no_near_duplicates(texts.parts, texts.item_ids)
    if texts.batch.balance:
        constraints.append(Balance(texts.predicted_M, label_counts(texts)))
    picks = greedy_batch(RULES[texts.batch.kind](texts), constraints, len(texts.item_ids), k)
    return [
        Chosen(texts.item_ids[pick.position], _how(texts, pick, covered))
        for pick, covered in zip(picks, _covered(texts, picks), strict=True)
    ]


def _covered(texts: Candidates, picks: Sequence[Pick]) -> list[str]:
    """What each pick stands for, with rules that cover texts."""
    parts, positions = texts.parts, [pick.position for pick in picks]
    if texts.batch.kind not in ("facility_location", "uncertainty_herding"):
        return [""] * len(picks)
    if texts.batch.covers_pool or parts.spec.has_head_learner or parts.head is not None:
        return stands_for(parts, [texts.item_ids[position] for position in positions], texts.known)
    points_M_d, known_L_d = texts.points  # of the language model: embedding the pool as well would take long
    return stands_for_in_top(points_M_d, positions, known_L_d, parts)


def _how(texts: Candidates, pick: Pick, covered: str) -> str:
    kind, turn = texts.batch.kind, ""
    if texts.batch.balance:
        labels = values_of(texts.parts.task, texts.items[pick.position], ())
        label = labels[int(texts.predicted_M[pick.position])]
        turn = f"to balance labels: {label}, "
    if texts.batch.diversifies:
        where = "over the pool" if texts.batch.covers_pool else f"within the top {len(texts.item_ids)}"
        return f"{_DIVERSIFIED[kind]} {where}, {covered}{turn}{notes_in_words(pick.notes)}"
    return _BY_RANK.get(kind, "") + turn + notes_in_words(pick.notes)


def notes_in_words(notes: Sequence[str]) -> str:
    """The notes of constraints that were ignored, to begin a reason with."""
    return "".join(f"{note}, " for note in notes)
