"""What a step of a round made, for the one transaction that stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.types.evaluations import Evaluation
from star_al.types.predictions import HeldOutPrediction
from star_al.types.queries import Query
from star_al.types.rounds import Adapter
from star_al.types.scores import ScoreRow


@dataclass(frozen=True, slots=True)
class StepResults:
    """What a step of a round made, besides the round's own values; empty where it made nothing."""

    adapters: Sequence[Adapter] = ()
    evaluations: Sequence[Evaluation] = ()
    held_out: Sequence[HeldOutPrediction] = ()
    ranking: Sequence[ScoreRow] = ()
    queries: Sequence[Query] = ()


NO_RESULTS = StepResults()
"""Of a step that only changes the values and the state of its round."""
