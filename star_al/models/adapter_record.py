"""``star_al.json``: what star_al records beside an adapter about how it was made and how to read it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from star_al.errors import ModelError
from star_al.models.artefact_files import damaged, read_json, write_json
from star_al.types import JsonObject

FILE = "star_al.json"

T = TypeVar("T")


def save_record(folder: Path, record: JsonObject) -> None:
    """Write the record into ``folder``.

    Raises:
        StoreError: The folder cannot be written.
    """
    write_json(folder / FILE, record)


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record in ``folder``.

    Raises:
        ModelError: It is missing or damaged.
    """
    return read_json(folder / FILE)


def record_number(folder: Path, record: JsonObject, key: str, valid: Callable[[float], bool]) -> float:
    """Return a number of a record.

    Args:
        folder: Where the record was read, for the message.
        record: The record.
        key: The number's key.
        valid: Returns whether a number is allowed.

    Raises:
        ModelError: There is no number, or it is infinite, NaN or not ``valid``. Names file and key.
    """
    value = record.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        finite = abs(value) <= sys.float_info.max  # JSON has integers that no float can hold
        if finite and valid(float(value)):
            return float(value)
    raise _unreadable(folder, key, value)


def record_choice(folder: Path, record: JsonObject, key: str, choices: Sequence[T]) -> T:
    """Return a value of a record that must be one of ``choices``.

    Args:
        folder: Where the record was read, for the message.
        record: The record.
        key: The value's key.
        choices: The values that are allowed.

    Raises:
        ModelError: The value is none of them. Names file and key.
    """
    for choice in choices:
        if record.get(key) == choice:
            return choice
    raise _unreadable(folder, key, record.get(key))


def _unreadable(folder: Path, key: str, value: object) -> ModelError:
    return damaged(folder / FILE, f"{key} is {repr(value)[:100]}")
