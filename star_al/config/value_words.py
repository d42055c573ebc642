"""What a setting may be set to, in words made from its JSON schema: "whole number above 0, or null"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_al.config.writing import to_one_line

_HUGE = 2**53


def value_words(schema: Mapping[str, Any]) -> str:
    """The values that a schema allows; code in backticks."""
    parts = schema.get("anyOf", (schema,))
    *others, last = dict.fromkeys(words for part in parts for words in _ways(part))
    return f"{', '.join(others)} or {last}" if others else last


def _ways(schema: Mapping[str, Any]) -> list[str]:
    if "enum" in schema:
        return [_code(value) for value in schema["enum"]]
    if "const" in schema:
        return [_code(schema["const"])]
    if schema.get("type") == "boolean":
        return ["`true`", "`false`"]
    return [_one(schema)]


def _one(schema: Mapping[str, Any]) -> str:
    match schema.get("type"):
        case "array":
            return _list_of(schema.get("items", {}))
        case "integer":
            return "whole number" + _limits(schema)
        case "number":
            return "number" + _limits(schema)
        case "null":
            return "`null`"
        case "string":
            return "text"
        case "object" if "properties" not in schema:
            return "names and texts"
    return "section"


def _list_of(items: Mapping[str, Any]) -> str:
    return "list of texts" if items.get("type") == "string" else "list"


def _limits(schema: Mapping[str, Any]) -> str:
    """The bounds of a number; one that only keeps it storable is left out."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    words = {
        "exclusiveMinimum": "above {:g}",
        "minimum": "of at least {:g}",
        "exclusiveMaximum": "below {:g}",
        "maximum": "of at most {:g}",
    }
    found = [text.format(schema[limit]) for limit, text in words.items() if schema.get(limit, _HUGE) < _HUGE]
    return " " + " and ".join(found) if found else ""


def _code(value: Any) -> str:
    return f"`{to_one_line(value)}`"
