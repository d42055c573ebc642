"""What a store promises of rounds and the results of their steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from star_al.types import (
    NO_RESULTS,
    BasePrediction,
    Evaluation,
    Event,
    HeldOutPrediction,
    Label,
    Lease,
    Round,
    StepResults,
)


class Rounds(Protocol):
    """Rounds, and what their steps found out."""

    def rounds(self, campaign_id: int) -> list[Round]:
        """All rounds in order."""

    def start_round(self, lease: Lease, /, round_: Round, training: Sequence[Label]) -> None:
        """Make a round with a snapshot of the labels it trains on. A round that exists stays as it is.

        Args:
            lease: The campaign's lease.
            round_: The round, in state ``started``.
            training: The labels in force, one per item.
        """

    def training_labels(self, campaign_id: int, round_index: int) -> list[Label]:
        """The snapshot of labels that a round trains on, in order of item id."""

    def commit_step(
        self, lease: Lease, /, round_: Round, event: Event, results: StepResults = NO_RESULTS
    ) -> None:
        """Store a step in one short transaction: the round's new values and state, its results and its event.

        Evaluations, ranking and held-out predictions replace those of the same round; empty ones leave them.
        Queries are added; one that exists (unique on campaign, item, attempt) keeps its state, and an open
        buffer query takes round, rank, reason, ``buffer`` and ``control`` of the one that is added.

        Args:
            lease: The campaign's lease.
            round_: The round as the step leaves it.
            event: What to log.
            results: What else the step made.
        """

    def evaluations(self, campaign_id: int, round_index: int) -> list[Evaluation]:
        """The evaluations of a round, by model and scaling."""

    def held_out(self, campaign_id: int, round_index: int) -> list[HeldOutPrediction]:
        """The held-out predictions of a round, by model and item id."""

    def base_predictions(self, base_key: str, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
        """The stored predictions of a base model, by item id; all campaigns share them."""

    def save_base_predictions(
        self, lease: Lease, /, base_key: str, predictions: Sequence[BasePrediction]
    ) -> None:
        """Store a page of predictions; existing ones stay.

        Args:
            lease: The lease of the campaign that needs them.
            base_key: The learner's hash of all that they depend on.
            predictions: One per item.
        """
