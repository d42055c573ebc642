"""The append-only log of a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from star_al.types.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: what a step did and how many seconds it took."""

    step: str
    message: str
    round_index: int | None = None
    seconds: float | None = None
    detail: JsonObject = field(default_factory=dict)
    created_at: datetime | None = None
