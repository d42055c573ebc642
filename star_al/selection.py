"""Choose a batch from a round's scores, and write down for each item why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_al import rng, scorefile
from star_al.acquire.blend import blend
from star_al.acquire.measures import own_mean_log
from star_al.acquire.select import power_sample, random_order, rank_order, top_k
from star_al.config import CampaignSpec
from star_al.parts import Parts
from star_al.queries import query_id
from star_al.scorefile import Scores
from star_al.scoring import adapted_weight, candidates
from star_al.types import (
    FloatArray,
    Histogram,
    IntArray,
    Item,
    JsonValue,
    Query,
    Reason,
    Role,
    Round,
    ScoreRow,
)

RANKING_ROWS = 200
"""How much of the ranking the database keeps, beside what was asked; the rest is in the score file."""

HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class Selection:
    """A batch in the order to ask it, the top of the ranking behind it, and histograms of the pool."""

    queries: tuple[Query, ...]
    ranking: tuple[ScoreRow, ...] = ()
    histograms: dict[str, Histogram] | None = None
    blend_weight: float | None = None


@dataclass(frozen=True)
class _Scores:
    item_ids: tuple[str, ...]
    columns: Scores
    blended_N: FloatArray
    weight: float | None

    def of(self, position: int) -> dict[str, Any]:
        """One item's scores by name, null where they were not computed."""
        columns = self.columns._asdict().items()
        return {name: None if column is None else column[position].item() for name, column in columns}


def select_batch(
    parts: Parts, round_: Round, spec: CampaignSpec, score_file: Path | None, size: int, buffer: int = 0
) -> Selection:
    """The ``size`` items to ask in a round, and ``buffer`` more; without ``score_file`` at random (cold start).

    The buffer comes after the batch and does not change it.
    """
    if score_file is None:
        return _random_batch(parts, round_, spec, size, buffer)
    scores = _read_scores(parts, score_file, round_, spec)
    order = rank_order(scores.blended_N, scores.item_ids)
    chosen = _choose(parts, round_, spec, scores, size)
    if buffer:
        in_batch = frozenset(chosen)
        more = _choose(parts, round_, spec, scores, size + buffer)
        chosen += tuple(item_id for item_id in more if item_id not in in_batch)
    place_of = _places(scores.item_ids, order, frozenset(chosen))
    items = parts.store.items(parts.campaign.campaign_id, chosen)
    guesses = _guesses(parts, score_file, items)
    reasons = [
        _reason(scores, *place_of[item.item_id], spec, guess)
        for item, guess in zip(items, guesses, strict=True)
    ]
    return Selection(
        queries=_queries(parts, round_, items, reasons, size),
        ranking=_ranking(scores, order[: max(RANKING_ROWS, size)]),
        histograms=_histograms(scores),
        blend_weight=scores.weight,
    )


def held_out_queries(parts: Parts, role: Role) -> tuple[Query, ...]:
    """Queries for the audit or calibration items that have no label yet, in a random order."""
    campaign = parts.campaign
    labelled = parts.store.labels(campaign.campaign_id, role)
    item_ids = [item for item in parts.store.item_ids(campaign.campaign_id, role) if item not in labelled]
    order = random_order(item_ids, rng.generator(campaign.seed, 0, role.value))
    reason = Reason(f"{role.value} set: drawn at random at import, never trained on")
    items = parts.store.items(campaign.campaign_id, order)
    wanted = parts.spec.labelling.overlap
    return tuple(
        Query(query_id(campaign.name, item.item_id, 1), item, 0, role, rank, reason, wanted=wanted)
        for rank, item in enumerate(items, 1)
    )


def _random_batch(parts: Parts, round_: Round, spec: CampaignSpec, size: int, buffer: int) -> Selection:
    pool = candidates(parts, round_.index, spec)
    chosen = random_order(pool, rng.generator(parts.campaign.seed, round_.index, "select"))[: size + buffer]
    reason = Reason("cold start: drawn at random, there was no label to train on")
    items = parts.store.items(parts.campaign.campaign_id, chosen)
    return Selection(queries=_queries(parts, round_, items, [reason] * len(items), size))


def _read_scores(parts: Parts, score_file: Path, round_: Round, spec: CampaignSpec) -> _Scores:
    item_ids, columns = scorefile.read_scores(score_file)
    weight = adapted_weight(parts, round_, spec)
    method = spec.acquisition.blend.normalise
    blended_N = blend(columns.adapted_uncertainty, columns.base_uncertainty, weight, method)
    return _Scores(item_ids, columns, blended_N, weight)


def _choose(parts: Parts, round_: Round, spec: CampaignSpec, scores: _Scores, size: int) -> tuple[str, ...]:
    """A batch of ``size``; a larger one contains every smaller one."""
    batch = spec.acquisition.batch
    if batch.kind == "power":
        random = rng.generator(parts.campaign.seed, round_.index, "select")
        return power_sample(scores.blended_N, scores.item_ids, size, batch.beta, random)
    return top_k(scores.blended_N, scores.item_ids, size)


def _places(item_ids: Sequence[str], order: IntArray, chosen: frozenset[str]) -> dict[str, tuple[int, int]]:
    """Position and rank (from 1) of the chosen items."""
    return {
        item_ids[position]: (int(position), rank)
        for rank, position in enumerate(order, 1)
        if item_ids[position] in chosen
    }


def _guesses(parts: Parts, score_file: Path, items: Sequence[Item]) -> list[tuple[JsonValue, float]]:
    """The model's label for each item, and its probability."""
    log_probs_N_K_C = scorefile.read_predictions([score_file], [item.item_id for item in items])
    probs_N_C = np.exp(own_mean_log(log_probs_N_K_C))
    return [
        (parts.task.value(item, int(probs_C.argmax())), float(probs_C.max()))
        for item, probs_C in zip(items, probs_N_C, strict=True)
    ]


def _reason(
    scores: _Scores, position: int, rank: int, spec: CampaignSpec, guess: tuple[JsonValue, float]
) -> Reason:
    known = scores.of(position)
    adapted, base = known["adapted_uncertainty"], known["base_uncertainty"]
    blended = float(scores.blended_N[position])
    terms = [] if adapted is None else [f"adapted {spec.acquisition.measure} {adapted:.3f}"]
    terms += [] if base is None else [f"base entropy {base:.3f}"]
    weight = "" if scores.weight is None else f", weight of the adapted model {scores.weight:.2f}"
    how = "drawn by power sampling, " if spec.acquisition.batch.kind == "power" else ""
    terms_in_words = " and ".join(terms)
    text = f"{how}rank {rank} of {len(scores.item_ids)}: blended {blended:.3f} from {terms_in_words}{weight}"
    text += _split_in_words(known["aleatoric"], known["epistemic"], known["samples"])
    predicted, confidence = guess
    return Reason(
        text,
        measure=spec.acquisition.measure,
        blended=blended,
        blend_weight=scores.weight,
        predicted=predicted,
        confidence=confidence,
        **known,
    )


def _split_in_words(aleatoric: float | None, epistemic: float | None, samples: int | None) -> str:
    if aleatoric is None or epistemic is None:
        return ""
    total = aleatoric + epistemic
    return f"; {samples} samples differ by {epistemic:.3f} of an entropy of {total:.3f}"


def _queries(
    parts: Parts, round_: Round, items: Sequence[Item], reasons: Sequence[Reason], batch_size: int
) -> tuple[Query, ...]:
    """Queries in order of rank; those beyond the batch are the buffer."""
    return tuple(
        Query(
            query_id(parts.campaign.name, item.item_id, 1),
            item,
            round_.index,
            Role.POOL,
            rank,
            reason,
            wanted=parts.spec.labelling.overlap,
            buffer=rank > batch_size,
        )
        for rank, (item, reason) in enumerate(zip(items, reasons, strict=True), 1)
    )


def _ranking(scores: _Scores, order: IntArray) -> tuple[ScoreRow, ...]:
    return tuple(
        ScoreRow(
            item_id=scores.item_ids[position],
            rank=rank,
            blended=float(scores.blended_N[position]),
            **scores.of(int(position)),
        )
        for rank, position in enumerate(order, 1)
    )


def _histograms(scores: _Scores) -> dict[str, Histogram]:
    columns = scores.columns
    arrays = {
        "base": columns.base_uncertainty,
        "adapted": columns.adapted_uncertainty,
        "blended": scores.blended_N,
    }
    histograms = {}
    for name, values_N in arrays.items():
        if values_N is not None and values_N.size:
            counts, edges = np.histogram(values_N, bins=HISTOGRAM_BINS)
            histograms[name] = Histogram(tuple(map(float, edges)), tuple(map(int, counts)))
    return histograms
