"""Long sequences in pages, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def pages(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """``values`` in order, in lists of ``size``; the last may be shorter."""
    rest = iter(values)
    while page := list(islice(rest, size)):
        yield page
