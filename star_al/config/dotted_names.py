"""Settings by dotted name, such as ``acquisition.batch_size``, in a tree of sections."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a tree by dotted name; ``prefix`` stands in front of each."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def set_value(tree: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set the value with a dotted name; sections that are not there are made."""
    *sections, key = name.split(".")
    for part in sections:
        tree = tree.setdefault(part, {})
    tree[key] = value
