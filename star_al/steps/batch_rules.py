"""What the batch kinds choose from, and their rules: gather what ``star_al.acquire`` needs for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.badge import Badge
from star_al.acquire.batch_bald import BatchBald
from star_al.acquire.embeddings import centred_directions, unit_vectors
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import GreedyRule, InOrder
from star_al.acquire.idds import Idds
from star_al.acquire.k_centre import KCentre
from star_al.acquire.measures import partial_mean_log
from star_al.acquire.uncertainty_herding import uncertainty_herding
from star_al.artefacts import score_file
from star_al.parts import RoundParts
from star_al.steps.embeddings import directions, embed, text_embeddings
from star_al.steps.known import known_ids
from star_al.steps.pool import posterior_seed, round_pool, stored_items
from star_al.task.columns import target_column
from star_al.types import Float32Array, FloatArray, IntArray, Item


@dataclass(frozen=True)
class Ranking:
    """Blended scores (N,) of the candidates, their score file, and the adapter; None for the base model."""

    item_ids: tuple[str, ...]
    scores_N: FloatArray
    score_file: Path
    adapter_folder: Path | None


class Candidates:
    """What a batch is chosen from: M items of a ranking in order, with what rules and constraints need to know.

    Args:
        parts: The round.
        ranking: The ranking.
        order_M: Positions of the items in it.
        drawn: True if the items were drawn with odds by their scores, so that each counts the same.
    """

    def __init__(self, parts: RoundParts, ranking: Ranking, order_M: IntArray, *, drawn: bool) -> None:
        self.parts, self.batch, self._ranking = parts, parts.spec.acquisition.batch, ranking
        self.item_ids = [ranking.item_ids[position] for position in order_M]
        scores_M = ranking.scores_N[order_M]
        # If all scores are 0, all texts weigh the same.
        self.weights_M = np.ones_like(scores_M) if drawn or not scores_M.any() else scores_M

    @cached_property
    def items(self) -> list[Item]:
        """The items themselves."""
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
    def model_embeddings_M_d(self) -> Float32Array:
        """Embeddings of the model that ranks, from which it predicts."""
        return embed(self.parts, self.parts.ranker, self._ranking.adapter_folder, self.item_ids)

    @cached_property
    def points(self) -> tuple[FloatArray, FloatArray]:
        """Directions of the items' embeddings (M, d), and of the embeddings of known items (L, d)."""
        embeddings_M_d = text_embeddings(self.parts, self._ranking.adapter_folder, self.item_ids)
        centre_d = embeddings_M_d.mean(axis=0, dtype=np.float64)
        points_M_d = centred_directions(embeddings_M_d, centre_d)
        if not self.known:
            return points_M_d, np.zeros((0, len(centre_d)))
        # Known items share the centre of the others; around one of their own, directions could not be compared.
        known_L_d = text_embeddings(self.parts, self._ranking.adapter_folder, self.known)
        return points_M_d, centred_directions(known_L_d, centre_d)

    @cached_property
    def known(self) -> list[str]:
        """Ids of the items that were asked before."""
        return known_ids(self.parts)

    def random(self) -> np.random.Generator:
        """A generator for the rule's draws."""
        return rng.generator(self.parts.campaign.seed, self.parts.round.index, "select")


def _batch_bald(top: Candidates) -> GreedyRule:
    return BatchBald(top.sampled_M_K_C, top.random())


def _badge(top: Candidates) -> GreedyRule:
    return Badge(top.probs_M_C, top.model_embeddings_M_d, top.random())


def _k_centre(top: Candidates) -> GreedyRule:
    return KCentre(*top.points)


def _facility_location(top: Candidates) -> GreedyRule:
    points_M_d, known_L_d = top.points
    return FacilityLocation(points_M_d, top.weights_M, known_L_d)


def _uncertainty_herding(pool: Candidates) -> GreedyRule:
    embeddings_M_d = text_embeddings(pool.parts, None, pool.item_ids)
    centre_d = embeddings_M_d.mean(axis=0, dtype=np.float64)
    points_M_d = directions(embeddings_M_d, centre_d)
    known_L_d = points_M_d[:0]
    if pool.known:
        known_L_d = directions(text_embeddings(pool.parts, None, pool.known), centre_d)
    return uncertainty_herding(points_M_d, pool.weights_M, known_L_d)


def _idds(pool: Candidates) -> GreedyRule:
    units_M_d = unit_vectors(text_embeddings(pool.parts, None, pool.item_ids))
    known_L_d = units_M_d[:0]
    if pool.known:
        known_L_d = unit_vectors(text_embeddings(pool.parts, None, pool.known))
    return Idds(units_M_d, known_L_d)


def _cluster_margin(top: Candidates) -> GreedyRule:
    from star_al.acquire.cluster_margin import SAMPLE, ClusterMargin, pool_clusters

    # The same texts in every round, whatever was asked since, so that the clusters stay the same.
    seed = rng.derive_seed(top.parts.campaign.seed, 0, "pool clusters")
    sample = sorted(rng.draw(round_pool(top.parts).item_ids, SAMPLE, seed))
    embeddings_S_d = text_embeddings(top.parts, None, sample)
    centre_d = embeddings_S_d.mean(axis=0, dtype=np.float64)
    points_M_d = directions(text_embeddings(top.parts, None, top.item_ids), centre_d)
    return ClusterMargin(pool_clusters(directions(embeddings_S_d, centre_d), points_M_d))


RULES: Mapping[str, Callable[[Candidates], GreedyRule]] = {
    "top_k": lambda top: InOrder(),
    "power": lambda top: InOrder(),
    "batchbald": _batch_bald,
    "badge": _badge,
    "k_centre": _k_centre,
    "facility_location": _facility_location,
    "cluster_margin": _cluster_margin,
    "uncertainty_herding": _uncertainty_herding,
    "idds": _idds,
}
"""How each batch kind chooses."""


def label_counts(top: Candidates) -> IntArray:
    """How many labels of each column (C,) the round was trained on."""
    store, campaign_id, task = top.parts.store, top.parts.campaign.campaign_id, top.parts.task
    labels = store.training_labels(campaign_id, top.parts.round.index)
    labels = [label for label in labels if not task.has_no_column(label.value)]
    items = store.items(campaign_id, [label.item_id for label in labels])
    columns = [target_column(task, item, label.value, ()) for item, label in zip(items, labels, strict=True)]
    return np.bincount(np.array(columns, dtype=np.int64), minlength=top.probs_M_C.shape[1])
