"""Predictions of frozen base models, shared by all campaigns."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from db.statements import insert_new, pages
from db.tables import BaseScoreRow
from star_al.types import BasePrediction


def load(connection: Connection, base_key: str, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
    """The stored predictions of these items, by item id."""
    columns = (
        BaseScoreRow.item_id,
        BaseScoreRow.log_probs,
        BaseScoreRow.log_prior,
        BaseScoreRow.answers,
        BaseScoreRow.uncertainty,
    )
    found: dict[str, BasePrediction] = {}
    for page in pages(item_ids):
        chosen = select(*columns).where(BaseScoreRow.base_key == base_key, BaseScoreRow.item_id.in_(page))
        for item_id, log_probs, log_prior, answers, uncertainty in connection.execute(chosen):
            values = tuple(answers or ())
            found[item_id] = BasePrediction(item_id, log_probs, log_prior, values, uncertainty)
    return found


def save(
    connection: Connection, campaign_id: int, base_key: str, predictions: Sequence[BasePrediction]
) -> None:
    """Store predictions that are not there yet. Whose campaign predicted them (``campaign_id``) is not kept."""
    rows = [
        {
            "base_key": base_key,
            "item_id": prediction.item_id,
            "log_probs": prediction.log_probs_C,
            "log_prior": prediction.log_prior_C,
            "answers": list(prediction.answers) or None,
            "uncertainty": prediction.uncertainty,
        }
        for prediction in predictions
    ]
    insert_new(connection, BaseScoreRow, rows)
