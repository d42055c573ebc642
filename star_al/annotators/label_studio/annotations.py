"""Read Label Studio's annotations into our records.

Any user of the server can store almost any JSON as an annotation, so nothing here trusts its shape. An answer that
cannot be used is refused by itself; the others are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard

from star_al.annotators.label_studio.controls import CONTROL, Control, control_of
from star_al.annotators.label_studio.markup import UNUSABLE_CHARACTERS
from star_al.config.spec import normalise_label
from star_al.task import Task
from star_al.types import Annotation, JsonValue

LONGEST_SHOWN = 60
"""Characters of a value that a message repeats."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An annotation that cannot be used.

    Attributes:
        external_id: As of ``Annotation``; None if it cannot be read.
        person: Who gave it, in words.
        reason: Why it cannot be used.
    """

    external_id: str | None
    person: str
    reason: str


class _UnusableError(Exception):
    """Why a part of an annotation cannot be used."""


def parse_annotation(
    raw: object,
    query_id: str,
    user_names: Mapping[int, str],
    unsure: str | None,
    task: Task,
) -> Annotation | Refused:
    """Convert one annotation as the server lists it; any JSON value may be passed.

    Args:
        raw: The annotation's JSON.
        query_id: The query of its task.
        user_names: Names of the server's users by their numbers.
        unsure: The choice that counts as a skip, if there is one.
        task: The labels.

    Returns:
        The annotation, or why it is refused. One without a result counts as a skip. Its id includes the time of
        its creation, because a server that lost its database counts from 1 again.
    """
    fields: Mapping[object, object] = raw if isinstance(raw, Mapping) else {}
    annotator = _annotator(fields.get("completed_by"), user_names)
    external_id: str | None = None
    try:
        if not isinstance(raw, Mapping):
            raise _UnusableError(f"it is {_shown(raw)}, not an annotation")
        created_at = _time(fields.get("created_at"))
        external_id = f"{_id(fields.get('id'))}@{created_at.isoformat()}"
        cancelled = _flag(fields.get("was_cancelled"))
        value = _value(fields.get("result"), unsure, task, cancelled=cancelled)
    except _UnusableError as exc:
        return Refused(external_id, annotator or "somebody unknown", str(exc))
    return Annotation(
        external_id=external_id,
        query_id=query_id,
        value=value,
        skipped=cancelled or value is None or value == unsure,
        annotator=annotator,
        lead_time=_seconds(fields.get("lead_time")),
        created_at=created_at,
    )


def user_number(raw: object) -> int | None:
    """The number of the user who gave an annotation; None if it does not say."""
    user = raw.get("completed_by") if isinstance(raw, Mapping) else None
    user = user.get("id") if isinstance(user, Mapping) else user
    return user if _is_number(user) else None


def _annotator(user: object, user_names: Mapping[int, str]) -> str | None:
    number = user_number({"completed_by": user})
    return None if number is None else user_names.get(number, str(number))


def _id(raw: object) -> int:
    if not _is_number(raw):
        raise _UnusableError(f"its id is {_shown(raw)}")
    return raw


def _is_number(raw: object) -> TypeGuard[int]:
    """Return whether this is a number that the server gives to something."""
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63


def _time(raw: object) -> datetime:
    try:
        return datetime.fromisoformat(raw).astimezone(UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise _UnusableError(f"its time of creation is {_shown(raw)}") from None


def _flag(raw: object) -> bool:
    if raw is not None and not isinstance(raw, bool):
        raise _UnusableError(f"whether it is a skip is {_shown(raw)}")
    return bool(raw)


def _seconds(raw: object) -> float | None:
    """The time spent; None if it is no sensible number, which is no reason to refuse the answer."""
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        return None
    try:
        seconds = float(raw)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _value(result: object, unsure: str | None, task: Task, *, cancelled: bool) -> JsonValue:
    """What was said; None if nothing was. What is wrong with the result of a skip does not matter."""
    try:
        return _said(result, unsure, task)
    except _UnusableError:
        if cancelled:
            return None
        raise


def _said(result: object, unsure: str | None, task: Task) -> JsonValue:
    """What was said in our control. Regions of other controls beside it are ignored."""
    if result is None:
        return None
    if not isinstance(result, list):
        raise _UnusableError(f"its result is {_shown(result)}, not a list")
    if not all(isinstance(region, Mapping) for region in result):
        raise _UnusableError("its result holds something that is not a region")
    ours = [region for region in result if region.get("from_name") == CONTROL]
    if result and not ours:
        raise _UnusableError(f"it has a result, but none for the control {CONTROL!r}")
    control = control_of(task)
    said = list(dict.fromkeys(text for region in ours for text in _texts(region.get("value"), control)))
    if said and unsure is not None and all(_is_unsure(text, unsure) for text in said):
        return unsure
    if len(said) > 1 and not control.takes_several:
        raise _UnusableError(f"it chooses {len(said)} labels: {', '.join(map(_shown, sorted(said)))}")
    for text in said:
        _check(text, unsure, task, control)
    return control.joined(said) if said else None


def _texts(value: object, control: Control) -> Sequence[str]:
    """What a region says."""
    said = value.get(control.key) if isinstance(value, Mapping) else None
    if control.free and isinstance(said, str):
        return [said]
    if not isinstance(said, list):
        raise _UnusableError(f"the value of its region is {_shown(value)}")
    for text in said:
        if not isinstance(text, str):
            raise _UnusableError(f"its {'answer' if control.free else 'choice'} {_shown(text)} is not a text")
    return said


def _is_unsure(text: str, unsure: str | None) -> bool:
    return unsure is not None and normalise_label(text) == normalise_label(unsure)


def _check(text: str, unsure: str | None, task: Task, control: Control) -> None:
    """Refuse what cannot be a label. Which letters an item has is checked where the item is known."""
    if control.free and _is_unsure(text, unsure):
        raise _UnusableError(f"it says {_shown(unsure)} and something else")
    if control.free or text == unsure:
        return
    if re.search(UNUSABLE_CHARACTERS, text):
        raise _UnusableError(f"its label {_shown(text)} has a control character")
    if not control.accepts(task, text):
        raise _UnusableError(f"{_shown(text)} is not a label of the campaign")


def _shown(value: object) -> str:
    """The value as Python writes it, which escapes control characters, shortened."""
    try:
        text = "missing" if value is None else repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; JSON nested a thousand deep
        text = "a value too large to show"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
