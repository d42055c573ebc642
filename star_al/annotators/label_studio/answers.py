"""Label Studio's annotations as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from star_al.annotators.label_studio.label_config import CONTROL
from star_al.types import Annotation, JsonValue


def annotation(
    raw: Mapping[str, Any], query_id: str, names: Mapping[int, str], unsure: str | None
) -> Annotation:
    """One annotation as the server lists it; ``names`` are its users by id.

    An empty one and one that chooses ``unsure`` count as skips. A label that is not in the task stays as it
    is. Its id holds when it was made: ids start again when a server's database is lost.
    """
    value = _value(raw.get("result") or ())
    who = raw.get("completed_by")
    who = who.get("id") if isinstance(who, Mapping) else who
    made = datetime.fromisoformat(raw["created_at"]).astimezone(UTC)
    lead_time = raw.get("lead_time")
    return Annotation(
        external_id=f"{raw['id']}@{made.isoformat()}",
        query_id=query_id,
        value=value,
        skipped=bool(raw.get("was_cancelled")) or value is None or value == unsure,
        annotator=None if who is None else names.get(who, str(who)),
        lead_time=None if lead_time is None else float(lead_time),
        created_at=made,
    )


def _value(result: Sequence[Mapping[str, Any]]) -> JsonValue:
    """What the control chose; null if nothing. Regions of other controls are not ours."""
    for region in result:
        if region.get("from_name") == CONTROL:
            choices = region.get("value", {}).get("choices") or ()
            if choices:
                return choices[0] if len(choices) == 1 else list(choices)
    return None
