"""Column types that keep the same values on SQLite and Postgres, and refuse values that one of them would change."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import DateTime, Dialect, Double, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from star_al.errors import StoreError
from star_al.types import FloatArray, JsonValue

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable_text(text: str) -> str:
    """Return ``text`` unchanged.

    Raises:
        StoreError: It has a NUL character, which Postgres cannot keep, or half a surrogate pair, which is
            not Unicode text.
    """
    if "\0" in text:
        raise StoreError(
            f"{_shown(text)} has a NUL character, which a database cannot keep. Remove it and run again."
        )
    if not text.isascii():
        _require_unicode(text)
    return text


def to_json(value: JsonValue, *, canonical: bool = False) -> str:
    """Write ``value`` as JSON text; ``canonical`` sorts keys, so that equal values give equal text.

    Raises:
        StoreError: It is not JSON (NaN and infinity are not), or has text that cannot be stored.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=canonical, default=_plain)
    except (TypeError, ValueError, RecursionError) as exc:
        raise StoreError(f"{_shown(value)} cannot be stored as JSON: {exc}.") from exc
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        raise StoreError(
            f"{_shown(value)} has a NUL character, which a database cannot keep. Remove it and run again."
        )
    if not text.isascii():
        _require_unicode(text)
    return text


def same_json(one: JsonValue, other: JsonValue) -> bool:
    """Return whether two values have the same JSON form; unlike with ``==``, 1, 1.0 and True differ.

    Raises:
        StoreError: A value cannot be stored as JSON.
    """
    return to_json(one, canonical=True) == to_json(other, canonical=True)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        around = text[max(exc.start - 20, 0) : exc.end + 20]
        raise StoreError(
            f"{_shown(around)} has half a surrogate pair (a broken emoji). Repair the text and run again."
        ) from exc


def _shown(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


class SafeText(TypeDecorator[str]):
    """Text that both databases return unchanged."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable_text(value)


class UtcTime(TypeDecorator[datetime]):
    """A time that is aware and in UTC in Python. A naive time is taken as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Real(TypeDecorator[float]):
    """A float64 that is not NaN, which SQLite would turn into NULL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        if value is not None and math.isnan(value):
            raise StoreError(
                "a statistic is NaN and was not stored; this is a bug in the step that computed it."
            )
        return value


class Floats(TypeDecorator[Any]):
    """A one-dimensional float64 array as little-endian bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: FloatArray | None, dialect: Dialect) -> bytes | None:
        return None if value is None else np.ascontiguousarray(value, dtype="<f8").tobytes()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> FloatArray | None:
        return None if value is None else np.frombuffer(value, dtype="<f8").astype(np.float64)


class Json(TypeDecorator[Any]):
    """Any JSON, with its types kept. Python's None is SQL's NULL.

    Text on SQLite, because a column declared JSON would turn 1.0 into 1.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return JSONB(none_as_null=True) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: JsonValue, dialect: Dialect) -> JsonValue:
        return value if value is None or dialect.name == "postgresql" else to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> JsonValue:
        stored: JsonValue = value if value is None or dialect.name == "postgresql" else json.loads(value)
        return stored
