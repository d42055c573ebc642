"""Small helpers for sentences that users read."""

from __future__ import annotations


def count(n: int, one: str, several: str | None = None) -> str:
    """A number with its noun: ``1 text``, ``1,234 texts``; ``several`` is the plural if it does not end in s."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def megabytes(size: int) -> str:
    """A size in bytes as MB, with a digit where it counts."""
    return f"{size / 1e6:,.0f} MB" if size >= 10e6 else f"{max(size, 100_000) / 1e6:.1f} MB"


def sentence_case(text: str) -> str:
    """``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]
