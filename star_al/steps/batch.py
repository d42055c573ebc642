"""Choose a batch from a ranking, or typical texts without one: gather what ``star_al.acquire`` needs for it.

A batch that is diversified or under constraints is chosen within the top of the ranking
(``acquisition.batch.top``). If the top is too small, the items below it follow by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.badge import Badge
from star_al.acquire.balance import Balance
from star_al.acquire.batch_bald import BatchBald
from star_al.acquire.embeddings import centred_directions
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import Constraint, GreedyRule, InOrder, Pick, greedy_batch
from star_al.acquire.k_centre import KCentre
from star_al.acquire.measures import partial_mean_log
from star_al.acquire.ranking import power_order, rank_order, top_k
from star_al.artefacts import score_file
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.parts import Parts, RoundParts
from star_al.steps.pool import SHARD_ITEMS, candidates, posterior_seed, stored_items
from star_al.types import Float32Array, FloatArray, IntArray, Item, QueryState, Role

TYPICAL_ITEMS = 10_000
"""A typical-text start embeds at most this many random candidates."""


@dataclass(frozen=True)
class Ranking:
    """Blended scores (N,) of the candidates, their score file, and the adapter; None for the base model."""

    item_ids: tuple[str, ...]
    scores_N: FloatArray
    score_file: Path
    adapter_folder: Path | None


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
    within = 0 if is_plain else _top_of(parts)
    chosen = []
    if within and len(order):
        chosen = _from_top(_Top(parts, ranking, order[:within]), size + buffer)
    how = f"below the top {within}, " if within else _BY_RANK.get(batch.kind, "")
    rest = order[within:][: size + buffer - len(chosen)]
    chosen += [Chosen(ranking.item_ids[position], how) for position in rest]
    # Sorted apart: in one list, a high score would lift an item from the buffer into the batch.
    if batch.kind == "power":
        return [*_by_score(chosen[:size], ranking), *_by_score(chosen[size:], ranking)]
    return chosen


def different_texts(parts: RoundParts, order: Sequence[str], size: int) -> list[str]:
    """The first ``size`` items of an order; near-duplicates of others come last, if the round skips them.

    Only the first ``acquisition.batch.top`` items are compared.
    """
    within = list(order[: max(_top_of(parts), size)])
    constraints = _near_duplicates(parts, within)
    if not constraints:
        return list(order[:size])
    return [within[pick.position] for pick in greedy_batch(InOrder(), constraints, len(within), size)]


def choose_typical(parts: RoundParts, size: int, *, without: Collection[str] = ()) -> list[Chosen]:
    """Choose ``size`` typical texts of the pool, one from each cluster of the base model's embeddings.

    Further texts of the clusters follow if there are more to choose than clusters.

    Args:
        parts: The round.
        size: How many texts to choose; fewer if there are fewer candidates.
        without: Ids of candidates to leave out.

    Returns:
        The texts in the order in which to label them.
    """
    from star_al.acquire.typiclust import typical_order  # brings scikit-learn, which is slow to import

    acquisition, left_out = parts.spec.acquisition, frozenset(without)
    pool = [item_id for item_id in candidates(parts) if item_id not in left_out]
    seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "typical")
    most = max(TYPICAL_ITEMS, acquisition.batch_size + parts.spec.labelling.buffer)
    item_ids = sorted(rng.draw(pool, most, seed))
    if not item_ids:
        return []
    embeddings_N_d = _embed(parts, None, item_ids)
    points_N_d = centred_directions(embeddings_N_d, embeddings_N_d.mean(axis=0, dtype=np.float64))
    # As many clusters as the configured batch, not ``size``: that includes the buffer, which must not change the
    # batch. scikit-learn takes seeds of 32 bits.
    typical = typical_order(points_N_d, acquisition.batch_size, seed % 2**32, min_cluster=1)
    top = [item_ids[position] for position in typical.order_N[: _top_of(parts)]]
    picks = greedy_batch(InOrder(), _near_duplicates(parts, top), len(top), size)
    how = [f"typical of {count(int(n), 'similar text')}" for n in typical.cluster_sizes_N[typical.order_N]]
    chosen = [Chosen(top[place], _notes(notes) + how[place]) for place, notes in picks]
    rest = typical.order_N[len(top) :][: size - len(chosen)]
    return chosen + [Chosen(item_ids[position], how[len(top) + n]) for n, position in enumerate(rest)]


_BY_RANK: Mapping[str, str] = {"power": "drawn by power sampling, "}
_DIVERSIFIED: Mapping[str, str] = {
    "batchbald": "BatchBALD",
    "badge": "BADGE",
    "k_centre": "k-centre",
    "facility_location": "facility location",
}


def _top_of(parts: RoundParts) -> int:
    """How many texts at the top of the ranking the batch is chosen from."""
    return parts.spec.acquisition.batch.top_of(parts.spec.acquisition.batch_size)


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


class _Top:
    """The top of a ranking: M items in order, with what rules and constraints need to know about them."""

    def __init__(self, parts: RoundParts, ranking: Ranking, order_M: IntArray) -> None:
        self.parts, self.batch, self._ranking = parts, parts.spec.acquisition.batch, ranking
        self.item_ids = [ranking.item_ids[position] for position in order_M]
        self.scores_M = ranking.scores_N[order_M]

    @cached_property
    def items(self) -> list[Item]:
        return self.parts.store.items(self.parts.campaign.campaign_id, self.item_ids)

    @cached_property
    def log_probs_M_K_C(self) -> FloatArray:
        """The predictions in the score file; −inf for labels that an item does not have."""
        return score_file.read_predictions([self._ranking.score_file], self.item_ids)

    @cached_property
    def sampled_M_K_C(self) -> FloatArray:
        """Predictions of all samples; those of a head are drawn again, as its score files keep their mean alone."""
        if not self.parts.spec.head_ranks:
            return self.log_probs_M_K_C
        with self.parts.progress.task("Drawing samples", len(self.item_ids)) as advance:
            return self.parts.ranker.predict(
                self._ranking.adapter_folder,
                stored_items(self.parts, self.item_ids),
                draws=range(self.parts.spec.samples),
                seed=posterior_seed(self.parts),
                advance=advance,
            ).log_probs_N_K_C

    @cached_property
    def probs_M_C(self) -> FloatArray:
        """The predictive mean."""
        return np.exp(partial_mean_log(self.log_probs_M_K_C))

    @cached_property
    def predicted_M(self) -> IntArray:
        """The column of the predicted label."""
        predicted_M: IntArray = self.probs_M_C.argmax(axis=1)
        return predicted_M

    @cached_property
    def embeddings_M_d(self) -> Float32Array:
        return _embed(self.parts, self._ranking.adapter_folder, self.item_ids)

    def points(self) -> tuple[FloatArray, FloatArray]:
        """Directions of the items' embeddings (M, d), and of the embeddings of known items (L, d)."""
        centre_d = self.embeddings_M_d.mean(axis=0, dtype=np.float64)
        points_M_d = centred_directions(self.embeddings_M_d, centre_d)
        known = known_ids(self.parts)
        if not known:
            return points_M_d, np.zeros((0, len(centre_d)))
        # Known items share the centre of the top; around a centre of their own, directions could not be compared.
        known_L_d = _embed(self.parts, self._ranking.adapter_folder, known)
        return points_M_d, centred_directions(known_L_d, centre_d)

    def random(self) -> np.random.Generator:
        return rng.generator(self.parts.campaign.seed, self.parts.round.index, "select")


def _from_top(top: _Top, k: int) -> list[Chosen]:
    """Choose ``k`` items of the top by the batch's rule under its constraints."""
    constraints = _near_duplicates(top.parts, top.item_ids)
    if top.batch.balance:
        constraints.append(Balance(top.predicted_M, _label_counts(top)))
    picks = greedy_batch(_RULES[top.batch.kind](top), constraints, len(top.item_ids), k)
    return [Chosen(top.item_ids[pick.position], _how(top, pick)) for pick in picks]


def _how(top: _Top, pick: Pick) -> str:
    kind, turn = top.batch.kind, ""
    if top.batch.balance:
        label = top.parts.task.value(top.items[pick.position], int(top.predicted_M[pick.position]))
        turn = f"to balance labels: {label}, "
    if top.batch.diversifies:
        return f"{_DIVERSIFIED[kind]} within the top {_top_of(top.parts)}, {turn}{_notes(pick.notes)}"
    return _BY_RANK.get(kind, "") + turn + _notes(pick.notes)


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"{note}, " for note in notes)


def _batch_bald(top: _Top) -> GreedyRule:
    return BatchBald(top.sampled_M_K_C, top.random())


def _badge(top: _Top) -> GreedyRule:
    return Badge(top.probs_M_C, top.embeddings_M_d, top.random())


def _k_centre(top: _Top) -> GreedyRule:
    return KCentre(*top.points())


def _facility_location(top: _Top) -> GreedyRule:
    """Weigh texts by their scores; if all scores are 0, weigh them equally."""
    points_M_d, known_L_d = top.points()
    weights_M = top.scores_M if top.scores_M.any() else np.ones_like(top.scores_M)
    return FacilityLocation(points_M_d, weights_M, known_L_d)


_RULES: Mapping[str, Callable[[_Top], GreedyRule]] = {
    "top_k": lambda top: InOrder(),
    "power": lambda top: InOrder(),
    "batchbald": _batch_bald,
    "badge": _badge,
    "k_centre": _k_centre,
    "facility_location": _facility_location,
}


def _near_duplicates(parts: RoundParts, item_ids: Sequence[str]) -> list[Constraint]:
    """The constraint against near-duplicates, if it is configured."""
    threshold = parts.spec.acquisition.batch.near_duplicates
    if threshold is None or not item_ids:
        return []
    from star_al.acquire.near_duplicates import NearDuplicates  # brings scikit-learn, which is slow to import

    texts, known = (
        [_text(item) for item in parts.store.items(parts.campaign.campaign_id, ids)]
        for ids in (item_ids, known_ids(parts))
    )
    return [NearDuplicates(texts, known, threshold)]


def _text(item: Item) -> str:
    # In multiple choice, one question with other options is another item to label.
    return "\n".join((item.text, *item.options))


def _label_counts(top: _Top) -> IntArray:
    """How many labels of each column (C,) the round was trained on."""
    store, campaign_id, task = top.parts.store, top.parts.campaign.campaign_id, top.parts.task
    labels = store.training_labels(campaign_id, top.parts.round.index)
    items = store.items(campaign_id, [label.item_id for label in labels])
    columns = [task.column(item, label.value) for item, label in zip(items, labels, strict=True)]
    return np.bincount(np.array(columns, dtype=np.int64), minlength=top.probs_M_C.shape[1])


def known_ids(parts: RoundParts) -> list[str]:
    """Sorted ids of the items that the round was trained on or that earlier rounds chose.

    Open buffer queries do not count: they may still be withdrawn, and a replay must give the same ids.
    """
    store, campaign_id = parts.store, parts.campaign.campaign_id
    trained = {label.item_id for label in store.training_labels(campaign_id, parts.round.index)}
    asked = {
        query.item_id
        for query in store.queries(campaign_id)
        if query.purpose is Role.POOL
        and query.round_index < parts.round.index
        and not (query.buffer and query.state is QueryState.OPEN)
    }
    return sorted(trained | asked)


def _embed(parts: Parts, adapter_folder: Path | None, item_ids: Sequence[str]) -> Float32Array:
    """Embeddings (N, d) of at least one item; texts are read page by page, never all at once."""
    embeddings: list[Float32Array] = []
    with parts.progress.task("Embedding", len(item_ids)) as advance:
        for page in pages(item_ids, SHARD_ITEMS):
            embeddings.append(parts.ranker.embed(adapter_folder, stored_items(parts, page), advance))
    return np.concatenate(embeddings)
