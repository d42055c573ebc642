"""Queries: which items were asked, why, and how each query ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from star_al.types.items import Role
from star_al.types.json_values import JsonValue


class QueryState(StrEnum):
    """State of a query: waiting for its annotations, or how it ended.

    A query without a label is ``SKIPPED``: its annotators skipped it, they did not agree
    (``Query.disputed``), or its task was deleted in the annotation tool.
    """

    OPEN = "open"
    LABELLED = "labelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item was chosen. Uncertainties are in nats (in [0, 1] for margin and least confidence).

    ``aleatoric``, ``epistemic``, ``samples`` and ``head_uncertainty`` are as in ``ScoreRow``. ``base_rank``,
    ``adapted_rank`` and ``head_rank`` are ranks by each model's uncertainty over the pool of that time, from 0 to 1.
    They are kept, also for texts that no score has chosen, where a blend learns from the answers. ``draft`` is all that
    the model wrote, where ``predicted`` is a part of it.
    """

    text: str
    measure: str | None = None
    base_uncertainty: float | None = None
    adapted_uncertainty: float | None = None
    blended: float | None = None
    blend_weight: float | None = None
    predicted: JsonValue = None
    confidence: float | None = None
    aleatoric: float | None = None
    epistemic: float | None = None
    samples: int | None = None
    head_uncertainty: float | None = None
    base_rank: float | None = None
    adapted_rank: float | None = None
    head_rank: float | None = None
    draft: str | None = None

    @property
    def written(self) -> JsonValue:
        """What the model answered, whole: a label as people would give it."""
        return self.predicted if self.draft is None else self.draft


@dataclass(frozen=True, slots=True)
class Query:
    """A request to label one item. ``query_id`` is a function of campaign, item and attempt.

    Attributes:
        rank: Counts from 1 within the round and purpose, in the order of labelling; in a batch chosen by score,
            the most uncertain item comes first.
        wanted: How many people should answer.
        buffer: Chosen beyond the batch, so that annotators have work while the model trains. The round does
            not wait for it, and it may be withdrawn while nobody has touched it.
        disputed: Closed because its annotators did not agree.
        control: Drawn at random for the control arm.
    """

    query_id: str
    item_id: str
    round_index: int
    purpose: Role  # POOL: to learn from; AUDIT, CALIBRATION: held out
    rank: int
    reason: Reason
    attempt: int = 1
    wanted: int = 1
    state: QueryState = QueryState.OPEN
    buffer: bool = False
    disputed: bool = False
    control: bool = False


@dataclass(frozen=True, slots=True)
class QueryCounts:
    """How many queries are open, and how many items were closed without a label or are disputed.

    Attributes:
        open: Queries that wait for an answer.
        skipped: Items that were closed without a label.
        disputed: Those of them whose annotators disagreed.
        in_dispute: Items that are open once more because their annotators disagreed.
    """

    open: int
    skipped: int
    disputed: int
    in_dispute: int
