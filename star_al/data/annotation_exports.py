"""The forms in which annotation tools write texts and labels, as flat rows and plain labels.

Label Studio's JSON nests texts in ``data``, choices and written answers in ``annotations``; Argilla nests them in
``fields`` and ``responses``; Prodigy marks rejected answers; most tools write the label of a text as a list of one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from star_al.errors import DataError


def flat_row(values: dict[str, Any]) -> dict[str, Any]:
    """Return an object of an annotation tool as a row of columns; any other object is unchanged."""
    if isinstance(values.get("data"), dict) and isinstance(_annotations(values), list):
        return _label_studio(values)
    if isinstance(values.get("fields"), dict) and "responses" in values:
        return _argilla(values)
    if values.get("answer") in ("reject", "ignore") and _is_prodigy(values):
        return {name: None if name in ("accept", "label") else value for name, value in values.items()}
    return values


def unwrapped(raw: Any) -> Any:
    """Return what ``{"choices": …}`` holds; other values unchanged."""
    found = _from_json(raw) if isinstance(raw, str) and raw.startswith("{") else raw
    if isinstance(found, dict) and set(found) & {"choices", "value"}:
        return found.get("choices", found.get("value"))
    return raw


def listed(raw: Any) -> Any:
    """Return the list that a cell holds as JSON or as ``{"choices": …}``; other values unchanged."""
    found = _from_json(raw) if isinstance(raw, str) else raw
    if isinstance(found, dict) and set(found) & {"choices", "value"}:
        return found.get("choices", found.get("value"))
    return found


def references(raw: Any) -> list[Any] | None:
    """Return the right answers in ``{"text": […], …}``, as question answering sets have them; None for other cells.

    Text is read as such an object only if it also says where the answers start.
    """
    if isinstance(raw, str) and raw.startswith("{") and '"answer_start"' in raw:
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    found = raw.get("text") if isinstance(raw, dict) else None
    return list(found) if isinstance(found, (list, tuple)) else None


def plain_label(raw: Any) -> Any:
    """Return the label in a cell: that of a list of one or of ``{"choices": [one]}``; other values unchanged.

    Raises:
        DataError: The cell holds several labels.
    """
    found = listed(raw)
    if not isinstance(found, (list, tuple)):
        return raw if found is None and isinstance(raw, str) else found
    labels = list(dict.fromkeys(map(_inner, found)))
    if len(labels) > 1:
        shown = ", ".join(str(label) for label in labels[:5])
        raise DataError(f"holds several labels ({shown}), but a text gets one. Leave one in each row.")
    return labels[0] if labels else None


def _from_json(cell: str) -> Any:
    """What a cell holds that a tool wrote as JSON; the cell itself if it did not."""
    if not cell.startswith(('["', '{"choices"')):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _inner(label: Any) -> Any:
    """An element of a list, which must compare and print; a nested one as text."""
    return (
        label
        if isinstance(label, (str, int, float, bool)) or label is None
        else json.dumps(label, default=str)
    )


# -- Label Studio ----------------------------------------------------------------------------------------


def _annotations(task: Mapping[str, Any]) -> Any:
    return task.get("annotations", task.get("completions"))


def _label_studio(task: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``data``, and for each control a column with what most people chose or wrote in it."""
    row = dict(task["data"])
    if "id" in task:
        row.setdefault("id", task["id"])
    given: dict[str, list[Any]] = {}
    for annotation in _annotations(task):
        if not isinstance(annotation, dict) or annotation.get("was_cancelled") or annotation.get("skipped"):
            continue
        written: dict[str, list[Any]] = {}
        for result in annotation.get("result") or ():
            value = result.get("value") if isinstance(result, dict) else None
            if not isinstance(value, dict):
                continue
            name = str(result.get("from_name"))
            if isinstance(value.get("choices"), list):
                given.setdefault(name, []).append(value["choices"])
            elif result.get("type") == "textarea" and value.get("text"):
                texts = value["text"] if isinstance(value["text"], list) else [value["text"]]
                written.setdefault(name, []).extend(texts)
        for name, texts in written.items():
            given.setdefault(name, []).append(texts)
    for name, votes in given.items():
        row[_free(name, row)] = _majority(votes)
    return row


def _free(name: str, row: Mapping[str, Any]) -> str:
    while name in row:
        name = f"{name}_chosen"
    return name


def _majority(votes: Sequence[Any]) -> Any:
    """What most votes say, of those with the same things in another order the first; None for a tie."""
    texts = [json.dumps(_in_order(vote), sort_keys=True, default=str) for vote in votes]
    (most_given, most), *others = Counter(texts).most_common(2)
    if others and others[0][1] == most:
        return None
    return json.loads(json.dumps(votes[texts.index(most_given)], default=str))


def _in_order(vote: Any) -> Any:
    """A vote for several things, in which their order does not matter."""
    return sorted(vote) if isinstance(vote, list) and all(isinstance(each, str) for each in vote) else vote


# -- Argilla and Prodigy ---------------------------------------------------------------------------------


def _argilla(record: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``fields`` and ``metadata``, and for each question a column with what most people answered."""
    metadata = record.get("metadata")
    row: dict[str, Any] = (dict(metadata) if isinstance(metadata, dict) else {}) | record["fields"]
    row |= {name: record[name] for name in ("id",) if name in record}
    responses = record["responses"]
    if isinstance(responses, dict):
        for question, answers in responses.items():
            votes = _submitted(answers if isinstance(answers, list) else [answers])
            if votes:
                row[_free(str(question), row)] = _majority(votes)
    return row


def _submitted(answers: Iterable[Any]) -> list[Any]:
    votes = []
    for answer in answers:
        if isinstance(answer, dict):
            if answer.get("status", "submitted") == "submitted" and answer.get("value") is not None:
                votes.append(answer["value"])
        elif answer is not None:
            votes.append(answer)
    return votes


def _is_prodigy(values: Mapping[str, Any]) -> bool:
    return "_input_hash" in values or "accept" in values or "label" in values
