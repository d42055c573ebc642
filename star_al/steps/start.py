"""The first batch of a campaign without labels: typical texts, texts that cover the pool, or those of a search."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from star_al import rng
from star_al.acquire.embeddings import centred_directions
from star_al.acquire.greedy import GreedyRule, InOrder, Pick, greedy_batch
from star_al.acquire.herding import herding, open_label_weights
from star_al.acquire.search import Search
from star_al.common.wording import count
from star_al.data.item_labels import content_id
from star_al.parts import RoundParts
from star_al.steps.base_predictions import base_log_probs
from star_al.steps.batch import Chosen, notes_in_words
from star_al.steps.embeddings import POOL_TEXTS, PoolSample, directions, pool_sample, text_embeddings
from star_al.steps.known import known_ids, no_near_duplicates
from star_al.steps.pool import candidates
from star_al.steps.stands_for import stands_for
from star_al.task.columns import is_open
from star_al.types import Float32Array, FloatArray, Item

SEARCH_TEXTS = 30
"""A search chooses among this many of the most similar texts for each text of the batch."""


def starts_by_texts(parts: RoundParts) -> bool:
    """True if the first batch is chosen by the texts alone; without scores it is drawn at random else."""
    return not parts.is_trained and parts.spec.acquisition.cold_start in _STARTS


def choose_start(parts: RoundParts, size: int, *, without: Collection[str] = ()) -> list[Chosen]:
    """Choose texts by ``acquisition.cold_start``. A longer choice begins with the shorter one.

    Args:
        parts: The round.
        size: How many texts to choose; fewer if there are fewer candidates.
        without: Ids of candidates to leave out, as they are asked anyway.

    Returns:
        The texts in the order in which to label them.
    """
    return _STARTS[parts.spec.acquisition.cold_start](parts, size, frozenset(without))


def _typical(parts: RoundParts, size: int, without: frozenset[str]) -> list[Chosen]:
    """One typical text of each cluster, and further ones if there are more to choose than clusters."""
    from star_al.acquire.typiclust import typical_order  # brings scikit-learn, which is slow to import

    acquisition = parts.spec.acquisition
    pool = [item_id for item_id in candidates(parts) if item_id not in without]
    seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "typical")
    most = max(POOL_TEXTS, acquisition.batch_size + parts.spec.labelling.buffer)
    item_ids = sorted(rng.draw(pool, most, seed))
    if not item_ids:
        return []
    embeddings_N_d = text_embeddings(parts, None, item_ids)
    points_N_d = centred_directions(embeddings_N_d, embeddings_N_d.mean(axis=0, dtype=np.float64))
    # As many clusters as the configured batch, not ``size``: that includes the buffer, which must not change the
    # batch. scikit-learn takes seeds of 32 bits.
    typical = typical_order(points_N_d, acquisition.batch_size, seed % 2**32, acquisition.min_cluster)
    top = [item_ids[position] for position in typical.order_N[: acquisition.batch_top]]
    picks = greedy_batch(InOrder(), no_near_duplicates(parts, top), len(top), size)
    how = [f"typical of {count(int(n), 'similar text')}" for n in typical.cluster_sizes_N[typical.order_N]]
    chosen = [Chosen(top[place], notes_in_words(notes) + how[place]) for place, notes in picks]
    rest = typical.order_N[len(top) :][: size - len(chosen)]
    return chosen + [Chosen(item_ids[position], how[len(top) + n]) for n, position in enumerate(rest)]


def _herding(parts: RoundParts, size: int, without: frozenset[str]) -> list[Chosen]:
    """Texts that together cover the pool; those that were asked before and ``without`` count as covered."""
    sample = pool_sample(parts)
    known = sorted({*known_ids(parts), *without})
    known_L_d: Float32Array = np.zeros((0, sample.points_N_d.shape[1]), np.float32)
    if known:
        known_L_d = directions(text_embeddings(parts, None, known), sample.centre_d)
    picks = _picks(
        parts, herding(sample.points_N_d, known_L_d, _weights(parts, sample)), sample.item_ids, size, without
    )
    item_ids = [sample.item_ids[pick.position] for pick in picks]
    covered = stands_for(parts, item_ids, known, sample)
    how = [f"{notes_in_words(pick.notes)}{words}" for pick, words in zip(picks, covered, strict=True)]
    return [
        Chosen(item_id, words.removesuffix(", ") or "covers what is left of the pool")
        for item_id, words in zip(item_ids, how, strict=True)
    ]


def _weights(parts: RoundParts, sample: PoolSample) -> FloatArray | None:
    """Weights of texts by how open the labels' names leave their label; None without names that tell something."""
    spec = parts.spec
    has_names = not (parts.task.has_options or is_open(parts.task))
    if not (spec.head_ranks and spec.head.label_names and sample.item_ids and has_names):
        return None
    seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "names") % 2**32
    return open_label_weights(base_log_probs(parts, sample.item_ids), sample.points_N_d, seed)


def _search(parts: RoundParts, size: int, without: frozenset[str]) -> list[Chosen]:
    """Texts that resemble the words of ``acquisition.search``, few of a kind."""
    pool = candidates(parts)
    if not pool:
        return []
    words = parts.spec.acquisition.search or ""
    embeddings_N_d = text_embeddings(parts, None, pool)
    centre_d = embeddings_N_d.mean(axis=0, dtype=np.float64)
    query_1_d = directions(_embedded(parts, words), centre_d)
    points_N_d = directions(embeddings_N_d, centre_d)
    similarity_N = (points_N_d @ query_1_d.T)[:, 0]
    most = SEARCH_TEXTS * parts.spec.acquisition.batch_size + len(without)
    top = np.argsort(-similarity_N, kind="stable")[:most]
    item_ids = [pool[position] for position in top]
    known = known_ids(parts)
    known_L_d = directions(text_embeddings(parts, None, known), centre_d) if known else points_N_d[:0]
    picks = _picks(parts, Search(points_N_d[top], query_1_d, known_L_d), item_ids, size, without)
    return [
        Chosen(
            item_ids[pick.position],
            f"{notes_in_words(pick.notes)}rank {pick.position + 1} of {len(pool):,} by similarity to “{words}”",
        )
        for pick in picks
    ]


_STARTS: Mapping[str, Callable[[RoundParts, int, frozenset[str]], list[Chosen]]] = {
    "typical": _typical,
    "herding": _herding,
    "search": _search,
}


def _picks(
    parts: RoundParts, rule: GreedyRule, item_ids: Sequence[str], size: int, without: frozenset[str]
) -> list[Pick]:
    """What a rule chooses of some items, which may include those to leave out."""
    free = np.array([item_id not in without for item_id in item_ids], dtype=bool)
    return greedy_batch(rule, no_near_duplicates(parts, item_ids), len(item_ids), size, allowed_M=free)


def _embedded(parts: RoundParts, words: str) -> Float32Array:
    """The embedding of words that are no text of the campaign, (1, d)."""
    learner = parts.head or parts.learner
    return learner.embed(None, [Item(content_id(words), words)], lambda n: None)
