"""Numbers as text: percentages, intervals, counts and durations, with a dash for what is missing."""

from __future__ import annotations

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with ``digits`` decimals."""
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int) -> str:
    """Format a number with ``digits`` decimals and always with its sign."""
    return MISSING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share as "93.2 %", with a space that does not break over lines."""
    return MISSING if share is None else f"{100 * share:.{digits}f}\u00a0%"


def interval(low: float | None, high: float | None) -> str:
    """Format two shares as "89.4 to 95.7 %", with spaces that do not break over lines."""
    if low is None or high is None:
        return MISSING
    return f"{100 * low:.1f}\u00a0to\u00a0{100 * high:.1f}\u00a0%"


def sentence(text: str | None) -> str:
    """Add a capital and a full stop; an empty text stays empty."""
    text = (text or "").strip()
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def duration(seconds: float | None) -> str:
    """Format seconds as "4.2 s", "3 min 20 s" or "2 h 5 min"; None gives the sign for a missing value."""
    if seconds is None:
        return MISSING
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
