"""The arms of ``study_open.py``: how texts are chosen for a model whose answers are open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arm:
    """A way to choose texts.

    Attributes:
        start: How the first texts are chosen.
        measure: By what all later ones are ranked; None for a choice without the model.
        of_sets: The measure that stands for it where answers are sets of labels.
        batch: Whether the highest are taken, or those of the highest that represent the pool, or texts by IDDS,
            whatever the model says.
        samples: Posterior samples that the measure needs; 0 for the posterior's mean alone.
        draws: Answers that each of them draws.
        blended: True to blend with the base model's uncertainty by STAR's schedule.
    """

    start: Literal["random", "typical", "herding", "idds"] = "random"
    measure: str | None = None
    of_sets: str = "entropy"
    batch: Literal["top_k", "facility_location", "idds"] = "top_k"
    samples: int = 0
    draws: int = 1
    blended: bool = False


ARMS: Mapping[str, Arm] = {
    "random": Arm(),
    "nll": Arm(measure="nll", of_sets="least_confidence"),
    "token_bald": Arm(measure="token_bald", of_sets="bald", samples=3),
    "typical start, nll": Arm("typical", "nll", "least_confidence"),
    "idds": Arm("idds", batch="idds"),
    "token_entropy": Arm(measure="token_entropy"),
    "entropy": Arm(measure="entropy", samples=3, draws=4),
    "star": Arm(measure="token_entropy", blended=True),
    "recommended, nll": Arm("herding", "nll", "least_confidence", "facility_location"),
}
"""All arms by name, the most telling ones first."""
