"""Which of a round's models its history is told by: the one that ranks the pool."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.types import JsonObject, RoundState

METRICS = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "nll", "ece")
"""What ``round_history`` has of the adapted model, and of a head under ``head_``."""


def rows_by_ranker(rows: Sequence[JsonObject], model: str) -> list[JsonObject]:
    """Rows of ``Store.history`` told by the model that ranks the pool.

    Args:
        rows: The rows.
        model: That model: ``adapted``, or ``head`` beside a language model.

    Returns:
        The rows with its metrics under their plain names, and the accuracy of the other model, if there is one,
        as ``beside_accuracy``.
    """
    if model != "head":
        return [{**row, "beside_accuracy": row["head_accuracy"]} for row in rows]
    return [
        {**row, **{name: row[f"head_{name}"] for name in METRICS}, "beside_accuracy": row["accuracy"]}
        for row in rows
    ]


def has_ended(rows: Sequence[JsonObject], model: str) -> bool:
    """True if a rule has stopped a campaign and its language model is trained and measured.

    Args:
        rows: Its rounds, as ``rows_by_ranker`` tells them, measured on held-out items.
        model: The model that ranks the pool.
    """
    if not rows or rows[-1]["state"] != RoundState.STOPPED.value:
        return False
    return model != "head" or not rows[-1]["labels"] or rows[-1]["beside_accuracy"] is not None
