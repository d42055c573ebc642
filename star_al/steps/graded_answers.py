"""What the labels say about the models that asked for them: the data of a blend that learns its weights.

Everything is read from the store: the ranks that each query keeps, its predicted label, and the round's snapshot of
labels. So a round that is resumed or replayed learns the same weights, whatever has been labelled since. Held-out
labels are read as they are now.
"""

from __future__ import annotations

import numpy as np

from star_al.acquire.measured_blend_weight import HeldOut
from star_al.acquire.measures import MEASURES, Measure, predictive_entropy
from star_al.acquire.prequential import Graded
from star_al.parts import Parts, RoundParts
from star_al.steps.base_bias import base_bias
from star_al.steps.base_predictions import base_entropies, pad
from star_al.steps.pool import SAMPLED_MEASURES
from star_al.task.columns import is_right, predicted_value
from star_al.types import FloatArray, HeldOutPrediction, Item, JsonValue, Query, Reason, Role

MODELS = ("adapted", "base", "head")
"""The models of a blend in order; the head only where it is trained beside the one that ranks the pool."""


def head_measure(parts: Parts) -> Measure:
    """The measure of a head that is a part of the blend: the campaign's, or entropy if that needs samples."""
    measure = parts.spec.acquisition.measure
    return predictive_entropy if measure in SAMPLED_MEASURES else MEASURES[measure]


def held_out(parts: RoundParts) -> HeldOut:
    """The labelled audit and calibration items, as the round's models see them.

    Items are left out whose uncertainty is not kept (EPIG), or whose label has a name that the round does not know.
    """
    store, campaign_id, name = parts.store, parts.campaign.campaign_id, parts.spec.ranking_model
    labels = {**store.labels(campaign_id, Role.AUDIT), **store.labels(campaign_id, Role.CALIBRATION)}
    kept = store.held_out(campaign_id, parts.round.index)
    beside = {one.item_id: one for one in kept if one.model == "head" and name != "head"}
    seen = [
        one for one in kept if one.model == name and one.item_id in labels and one.uncertainty is not None
    ]
    items = store.items(campaign_id, [one.item_id for one in seen])
    graded = [
        (
            one,
            _is_wrong(
                parts,
                item,
                predicted_value(parts.task, item, one.log_probs_C, one.answers),
                labels[item.item_id].value,
            ),
        )
        for item, one in zip(items, seen, strict=True)
    ]
    known = [(one, wrong) for one, wrong in graded if wrong is not None]
    item_ids = [one.item_id for one, _ in known]
    return HeldOut(
        adapted_M=np.array([one.uncertainty for one, _ in known], dtype=np.float64),
        base_M=base_entropies(parts, item_ids, base_bias(parts)),
        errors_M=np.array([wrong for _, wrong in known], dtype=np.bool_),
        head_M=_uncertainty(parts, [beside.get(item_id) for item_id in item_ids]) if beside else None,
    )


def _uncertainty(parts: Parts, predictions: list[HeldOutPrediction | None]) -> FloatArray:
    """Uncertainties of a head beside the model that ranks; NaN where there is no prediction."""
    uncertainty_N = np.full(len(predictions), np.nan)
    there = [row for row, one in enumerate(predictions) if one is not None]
    log_probs_M_1_C = pad([one.log_probs_C for one in predictions if one is not None])[:, None, :]
    uncertainty_N[there] = head_measure(parts)(log_probs_M_1_C, per_option=parts.task.has_options)
    return uncertainty_N


def graded_answers(parts: RoundParts, n_models: int) -> Graded:
    """The labels that the campaign has asked for by score, and what its models knew then.

    Args:
        parts: The round. Its snapshot of labels and the queries of earlier rounds are read.
        n_models: How many models the blend has, in the order of ``MODELS``.
    """
    store, campaign_id, index = parts.store, parts.campaign.campaign_id, parts.round.index
    labels = {label.item_id: label.value for label in store.training_labels(campaign_id, index)}
    asked = [query for query in store.queries(campaign_id) if _has_ranks(query) and query.item_id in labels]
    asked = [query for query in asked if query.round_index < index]
    items = store.items(campaign_id, [query.item_id for query in asked])
    graded = [
        (query, _is_wrong(parts, item, query.reason.predicted, labels[query.item_id]))
        for query, item in zip(asked, items, strict=True)
    ]
    known = sorted(
        ((query, wrong) for query, wrong in graded if wrong is not None),
        key=lambda one: (one[0].round_index, one[0].item_id),
    )
    rounds_M = np.array([query.round_index for query, _ in known], dtype=np.int64)
    ranks = [_ranks(query.reason)[:n_models] for query, _ in known]
    return Graded(
        ranks_M_J=np.array(ranks, dtype=np.float64).reshape(len(known), n_models),
        errors_M=np.array([wrong for _, wrong in known], dtype=np.bool_),
        groups_M=np.unique(rounds_M, return_inverse=True)[1],
        ages_M=((index - 1) - rounds_M).astype(np.float64),
    )


def _has_ranks(query: Query) -> bool:
    """True for the first query of an item whose models had ranked the pool; further attempts repeat its reason."""
    return query.attempt == 1 and query.purpose is Role.POOL and query.reason.adapted_rank is not None


def _ranks(reason: Reason) -> list[float | None]:
    return [reason.adapted_rank, reason.base_rank, reason.head_rank]


def _is_wrong(parts: Parts, item: Item, predicted: JsonValue, label: JsonValue) -> bool | None:
    """Whether a prediction missed the label; None if the round does not know the label's present name."""
    right = is_right(parts.task, item, predicted, label)
    return None if right is None else not right
