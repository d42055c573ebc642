"""The arms of ``study_lora.py``: how texts are chosen for a LoRA, and whether the head teaches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arm:
    """A way to choose texts and to train.

    Attributes:
        start: How the first texts are chosen, a name of ``CHOOSERS``.
        then: How all later ones are chosen, a name of ``CHOOSERS``.
        scorer: Whose uncertainty ranks the pool: nobody's, LoRA's, or that of the head that learns from the same
            labels.
        blend: What LoRA's uncertainty is blended with the base model's by: nothing, STAR's schedule, or weights
            learned from the answers.
        batches: Batches that are asked for between two counts, if LoRA ranks the pool.
        taught: True if LoRA is taught by the head of its own labels.
    """

    start: str
    then: str
    scorer: Literal["none", "lora", "head"]
    blend: Literal["alone", "schedule", "prequential"] = "alone"
    batches: int = 1
    taught: bool = False


def _with_teaching(name: str, arm: Arm) -> dict[str, Arm]:
    return {f"{name}, taught": Arm(arm.start, arm.then, arm.scorer, taught=True), name: arm}


RANDOM = Arm("random", "random", "none")
BY_HEAD = Arm("herding", "facility_location", "head")
"""``acquisition.preset: recommended`` with ``scorer: head``."""

BY_LORA = Arm("plain herding", "facility_location", "lora")
"""``acquisition.preset: recommended``. The start does not look at names, as in the product when LoRA ranks."""

ARMS: Mapping[str, Arm] = {
    **_with_teaching("random", RANDOM),
    **_with_teaching("recommended by head", BY_HEAD),
    **_with_teaching("recommended", BY_LORA),
    "entropy": Arm("random", "entropy", "lora"),
    "star": Arm("random", "entropy", "lora", "schedule"),
    "star, prequential": Arm("random", "entropy", "lora", "prequential"),
    "star, nine batches": Arm("random", "entropy", "lora", "schedule", batches=3),
}
"""All arms by name."""

ORDER = (
    "random, taught",
    "recommended by head, taught",
    "random",
    "recommended",
    "recommended by head",
    "star",
    "entropy",
    "star, prequential",
    "recommended, taught",
    "star, nine batches",
)
"""All arms, the most telling ones first."""
