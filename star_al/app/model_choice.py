"""Which model predicts where a head stands beside the language model."""

from __future__ import annotations

from enum import StrEnum


class ModelChoice(StrEnum):
    """A model of a campaign with a head and a language model, or what is best on its calibration labels."""

    BEST = "best"
    HEAD = "head"
    LORA = "lora"
