"""Choose a round's batch, and write down for each item why it was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from star_al import rng
from star_al.acquire.blend import pool_ranks
from star_al.acquire.measured_blend_weight import BlendWeight
from star_al.acquire.measures import partial_mean_log
from star_al.acquire.ranking import random_order, rank_order
from star_al.artefacts.score_file import read_answers, read_predictions, read_scores
from star_al.artefacts.score_page import Scores
from star_al.config.spec import CampaignSpec
from star_al.labelling.queries import query_id
from star_al.parts import Parts, RoundParts
from star_al.steps.answers import Answers
from star_al.steps.batch import choose_batch, different_texts
from star_al.steps.batch_rules import Ranking
from star_al.steps.blend_weight import final_weight
from star_al.steps.blending import blended, by_model
from star_al.steps.control_arm import control_items, next_control_items
from star_al.steps.pool import candidates
from star_al.steps.shortlist import not_scored, shortlist_record
from star_al.steps.start import choose_start, starts_by_texts
from star_al.types import (
    FloatArray,
    Histogram,
    IntArray,
    JsonValue,
    Query,
    Reason,
    Role,
    ScoreRow,
    ShortlistRecord,
)

RANKING_ROWS = 200
"""Rows of the ranking that the database keeps, if the batch is smaller; all are in the score file."""

HISTOGRAM_BINS = 20

COLD_START = "cold start (no labels to train on): "
"""How the reasons of a round without a trained model begin."""


@dataclass(frozen=True)
class Selection:
    """A batch in the order in which to label it, with what it was chosen by.

    Attributes:
        queries: The batch, then the buffer.
        ranking: The top of the ranking; empty if no score decided.
        histograms: Histograms of the pool's uncertainties; None if no score decided.
        weight: Weight of the adapted model in the blend; None without a blend.
        shortlist: What was left out of the ranking; None if all texts were scored.
    """

    queries: tuple[Query, ...]
    ranking: tuple[ScoreRow, ...] = ()
    histograms: dict[str, Histogram] | None = None
    weight: BlendWeight | None = None
    shortlist: ShortlistRecord | None = None


@dataclass(frozen=True)
class _Scores:
    item_ids: tuple[str, ...]
    columns: Scores
    blended_N: FloatArray
    weight: BlendWeight | None
    ranks: Mapping[str, FloatArray]

    def of(self, position: int) -> dict[str, Any]:
        """One item's scores by name; None for those that were not computed, or that it does not have."""
        columns = [each for each in self.columns._asdict().items() if each[0] != "drawn"]
        known = {name: None if column is None else column[position].item() for name, column in columns}
        return {name: None if value is None or np.isnan(value) else value for name, value in known.items()}

    def ranks_of(self, position: int) -> dict[str, Any]:
        """One item's ranks in the pool by name; none unless the blend learns from the answers."""
        return {name: float(ranks_N[position]) for name, ranks_N in self.ranks.items()}


def select_batch(
    parts: RoundParts,
    score_file: Path | None,
    adapter_folder: Path | None,
    size: int,
    buffer: int = 0,
) -> Selection:
    """Choose the items that a round asks labels for.

    The control arm's share of the batch comes first (``star_al.steps.control_arm``). The buffer comes after
    the batch and does not change it.

    Args:
        parts: The round.
        score_file: Its scores; None for a first batch by the texts alone, or a random one.
        adapter_folder: Its adapter; None if it has none.
        size: Items in the batch.
        buffer: Further items to choose.
    """
    if score_file is None and not starts_by_texts(parts):
        return _random_batch(parts, size, buffer)
    if score_file is None:
        return _first_batch(parts, _control_queries(parts, size), size, buffer)
    scores = _read_scores(parts, score_file)
    control = _control_queries(parts, size, _Ranked(parts, scores, score_file))
    without = [query.item_id for query in control]
    # Ranks are by score even where the batch is drawn or diversified: they say how uncertain the model is.
    order = rank_order(scores.blended_N, scores.item_ids)
    ranking = Ranking(scores.item_ids, scores.blended_N, score_file, adapter_folder)
    chosen = choose_batch(parts, ranking, size - len(control), buffer, without=without)
    item_ids = [each.item_id for each in chosen]
    place_of = _places(scores.item_ids, order, frozenset(item_ids))
    guesses = _guesses(parts, score_file, item_ids)
    reasons = [
        _reason(parts.spec, scores, *place_of[each.item_id], guess, each.how)
        for each, guess in zip(chosen, guesses, strict=True)
    ]
    return Selection(
        queries=control + _queries(parts, item_ids, reasons, size, len(control)),
        ranking=_ranking(scores, order[: max(RANKING_ROWS, size)]),
        histograms=_histograms(scores),
        weight=scores.weight,
        shortlist=_shortlist(parts, scores, without, size),
    )


def _shortlist(
    parts: RoundParts, scores: _Scores, control: Sequence[str], size: int
) -> ShortlistRecord | None:
    drawn_N, for_the_arm = scores.columns.drawn, frozenset(control)
    if drawn_N is None:
        return None
    control_N = np.array([item_id in for_the_arm for item_id in scores.item_ids], dtype=np.bool_)
    return shortlist_record(parts, scores.blended_N, drawn_N == 1, control_N, size - len(control))


def _random_batch(parts: RoundParts, size: int, buffer: int) -> Selection:
    """Draw at random; with a control arm, in its order, marked as control."""
    control = parts.spec.acquisition.control_share > 0.0
    if control:  # the whole batch is random, so all of it can extend the control set
        order = next_control_items(parts, parts.free_ids, size + buffer)
    else:
        pool = candidates(parts)
        order = random_order(pool, rng.generator(parts.campaign.seed, parts.round.index, "select"))
        order = tuple(different_texts(parts, order, size + buffer))
    start = "" if parts.is_trained else COLD_START
    item_ids = order[: size + buffer]
    reasons = [Reason(f"{start}drawn at random")] * len(item_ids)
    return Selection(queries=_queries(parts, item_ids, reasons, size, control=control))


@dataclass(frozen=True)
class _Ranked:
    """A pool with scores, of which control items need their ranks and the model's guess where a blend learns."""

    parts: RoundParts
    scores: _Scores
    score_file: Path

    def add_to(self, reason: Reason, item_ids: Sequence[str]) -> list[Reason]:
        """A reason for each item, with its ranks and its predicted label if the pool has it."""
        place = {item_id: position for position, item_id in enumerate(self.scores.item_ids)}
        there = [item_id for item_id in item_ids if item_id in place]
        if not self.scores.ranks or not there:
            return [reason] * len(item_ids)
        guesses = dict(zip(there, _guesses(self.parts, self.score_file, there), strict=True))
        return [
            replace(
                reason,
                predicted=guesses[item_id].value,
                confidence=guesses[item_id].confidence,
                draft=guesses[item_id].draft,
                **self.scores.ranks_of(place[item_id]),
            )
            if item_id in place
            else reason
            for item_id in item_ids
        ]


def _control_queries(parts: RoundParts, size: int, ranked: _Ranked | None = None) -> tuple[Query, ...]:
    """The control arm's share of a batch."""
    item_ids = control_items(parts, size)
    reason = Reason("control arm: drawn at random, whatever the model says")
    reasons = ranked.add_to(reason, item_ids) if ranked else [reason] * len(item_ids)
    return _queries(parts, item_ids, reasons, size, control=True)


def _first_batch(parts: RoundParts, control: tuple[Query, ...], size: int, buffer: int) -> Selection:
    """A cold start: the control arm's items, then texts of the pool."""
    without = [query.item_id for query in control]
    chosen = choose_start(parts, size - len(control) + buffer, without=without)
    item_ids = [each.item_id for each in chosen]
    reasons = [Reason(f"{COLD_START}{each.how}") for each in chosen]
    return Selection(queries=control + _queries(parts, item_ids, reasons, size, len(control)))


def _read_scores(parts: RoundParts, score_file: Path) -> _Scores:
    item_ids, columns = read_scores(score_file)
    # Texts that a shortlist left out are not chosen from, but ranks and normalised scores are those of the whole pool.
    pool = columns if columns.drawn is None else columns.followed_by(not_scored(parts, item_ids, columns))
    weight, settings = final_weight(parts, pool), parts.spec.acquisition.blend
    n, ranks = len(item_ids), dict[str, FloatArray]()
    if weight is not None and settings.learns_from_answers:
        ranks = {f"{name}_rank": pool_ranks(scores_P)[:n] for name, scores_P in by_model(pool).items()}
    used = None if settings.kind == "off" else weight
    return _Scores(item_ids, columns, blended(pool, weight, settings)[:n], used, ranks)


def _places(item_ids: Sequence[str], order: IntArray, chosen: frozenset[str]) -> dict[str, tuple[int, int]]:
    """Position and rank (from 1) of the chosen items."""
    # One pass over the order: a search for each chosen item would take a pass each.
    return {
        item_ids[position]: (int(position), rank)
        for rank, position in enumerate(order, 1)
        if item_ids[position] in chosen
    }


class _Guess(NamedTuple):
    """The predicted label of an item, its probability, and all that the model wrote where the label is a part of it."""

    value: JsonValue
    confidence: float
    draft: str | None


def _guesses(parts: Parts, score_file: Path, item_ids: Sequence[str]) -> list[_Guess]:
    """What the model says of each item."""
    items = parts.store.items(parts.campaign.campaign_id, item_ids)
    log_probs_N_K_C = read_predictions([score_file], item_ids)
    # With adaptive sampling items have different numbers of samples, so a plain mean would be NaN for some.
    opened = read_answers([score_file], item_ids)
    answers = Answers(partial_mean_log(log_probs_N_K_C), values_N=() if opened is None else opened.answers)
    texts_N = None if opened is None else opened.texts_N
    return [
        _Guess(
            value,
            float(np.exp(answers.log_probs_N_C[row, column])),
            None if texts_N is None else texts_N[row][column],
        )
        for row, (column, value) in enumerate(answers.predicted(parts.task, items))
    ]


def _reason(
    spec: CampaignSpec,
    scores: _Scores,
    position: int,
    rank: int,
    guess: _Guess,
    how: str,
) -> Reason:
    known, measure = scores.of(position), spec.acquisition.measure
    ranker, model = ("head", "head") if spec.head_ranks else ("adapted", "adapted model")
    blended, ranks = float(scores.blended_N[position]), scores.ranks_of(position)
    named = {"adapted": f"{ranker} {measure}", "base": "base entropy", "head": "head's uncertainty"}
    terms = [
        f"{words} {known[f'{name}_uncertainty']:.3f}{_rank_in_words(ranks.get(f'{name}_rank'))}"
        for name, words in named.items()
        if known[f"{name}_uncertainty"] is not None
    ]
    among = f"{len(scores.item_ids)}{'' if scores.columns.drawn is None else ' scored'}"
    text = f"{how}rank {rank} of {among}: "
    if len(terms) == 1:  # nothing was blended
        text += terms[0]
    else:
        weight = "" if scores.weight is None else f", weight of the {model} {scores.weight.value:.2f}"
        if scores.weight is not None and scores.weight.head is not None:
            weight += f" and of the head {scores.weight.head:.2f}"
        text += f"blended {blended:.3f} from {', '.join(terms[:-1])} and {terms[-1]}{weight}"
    text += _split_in_words(known["aleatoric"], known["epistemic"], known["samples"])
    return Reason(
        text,
        measure=measure,
        blended=blended,
        blend_weight=scores.weight.value if scores.weight else None,
        predicted=guess.value,
        confidence=guess.confidence,
        draft=guess.draft,
        **known,
        **ranks,
    )


def _rank_in_words(rank: float | None) -> str:
    return "" if rank is None else f" (above {100 * rank:.0f} % of the texts)"


def _split_in_words(aleatoric: float | None, epistemic: float | None, samples: int | None) -> str:
    if aleatoric is None or epistemic is None:
        return ""
    total = aleatoric + epistemic
    return f"; epistemic part {epistemic:.3f} of a total entropy of {total:.3f} ({samples} samples)"


def _queries(
    parts: RoundParts,
    item_ids: Sequence[str],
    reasons: Sequence[Reason],
    batch_size: int,
    before: int = 0,
    *,
    control: bool = False,
) -> tuple[Query, ...]:
    """Queries in order of rank, which continues from ``before``; ranks beyond ``batch_size`` are the buffer."""
    return tuple(
        Query(
            query_id(parts.campaign.name, item_id, 1),
            item_id,
            parts.round.index,
            Role.POOL,
            rank,
            reason,
            wanted=parts.spec.labelling.overlap,
            buffer=rank > batch_size,
            control=control,
        )
        for rank, (item_id, reason) in enumerate(zip(item_ids, reasons, strict=True), before + 1)
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
        "head": columns.head_uncertainty,
        "blended": scores.blended_N,
    }
    histograms = {}
    for name, values_N in arrays.items():
        if values_N is not None and values_N.size:
            counts, edges = np.histogram(values_N, bins=HISTOGRAM_BINS)
            histograms[name] = Histogram(tuple(map(float, edges)), tuple(map(int, counts)))
    return histograms
