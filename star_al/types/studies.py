"""Studies: campaigns that are run to be compared."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.types.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One campaign of a study: a strategy and a seed."""

    strategy: str
    seed: int
    campaign: str


@dataclass(frozen=True, slots=True)
class Study:
    """Campaigns that are run to be compared; ``config`` is what they have in common."""

    name: str
    config: JsonObject
    runs: tuple[StudyRun, ...]
