"""Uncertainty scores of the pool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of a round's ranking. Uncertainties are in nats (in [0, 1] for margin and least confidence).

    Attributes:
        aleatoric: With ``epistemic`` it adds up to the entropy of the adapted model's predictive mean, in
            nats. Both are ``None`` if there is only one sample, or if written answers were drawn too seldom to
            tell.
        samples: How many posterior samples the item got; ``None`` without an adapter.
        head_uncertainty: Of a head that has a part in the blend; ``None`` without one.
    """

    item_id: str
    rank: int
    base_uncertainty: float | None
    adapted_uncertainty: float | None
    blended: float
    aleatoric: float | None = None
    epistemic: float | None = None
    samples: int | None = None
    head_uncertainty: float | None = None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of one uncertainty over the pool; ``edges`` has one more entry than ``counts``."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
