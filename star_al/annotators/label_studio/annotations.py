"""Read Label Studio's annotations into our records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from star_al.annotators.label_studio.label_config import CONTROL
from star_al.types import Annotation, JsonValue


def parse_annotation(
    raw: Mapping[str, Any], query_id: str, user_names: Mapping[int, str], unsure: str | None
) -> Annotation:
    """Convert one annotation as the server lists it.

    Args:
        raw: The annotation's JSON.
        query_id: The query of its task.
        user_names: Names of the server's users by their numbers.
        unsure: The choice that counts as a skip, if there is one.

    Returns:
        The annotation. An empty one counts as a skip; a label that is not in the task is kept as it is. Its id
        includes the time of its creation, because a server that lost its database counts from 1 again.
    """
    value = _chosen(raw.get("result") or ())
    user = raw.get("completed_by")
    user = user.get("id") if isinstance(user, Mapping) else user
    created_at = datetime.fromisoformat(raw["created_at"]).astimezone(UTC)
    lead_time = raw.get("lead_time")
    return Annotation(
        external_id=f"{raw['id']}@{created_at.isoformat()}",
        query_id=query_id,
        value=value,
        skipped=bool(raw.get("was_cancelled")) or value is None or value == unsure,
        annotator=None if user is None else user_names.get(user, str(user)),
        lead_time=None if lead_time is None else float(lead_time),
        created_at=created_at,
    )


def _chosen(result: Sequence[Mapping[str, Any]]) -> JsonValue:
    """What was chosen in our control, or None. Regions of other controls are ignored."""
    for region in result:
        if region.get("from_name") == CONTROL:
            choices = region.get("value", {}).get("choices") or ()
            if choices:
                return choices[0] if len(choices) == 1 else list(choices)
    return None
