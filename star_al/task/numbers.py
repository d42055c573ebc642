"""Numbers in written answers, compared without rounding."""

from __future__ import annotations

import re
from decimal import Decimal

NUMBER = re.compile(r"[-+−]?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)%?")
"""A number in a text, with what it may be written with."""

_PLAIN = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")


def canonical_number(text: str) -> str | None:
    """Return a number in its shortest form: ``$1,000.0`` and ``1000.`` are ``1000``; None if it is no number.

    Dollar signs, per cent signs, commas and spaces are dropped. A number may have any length; exponents are no
    numbers here, since a short one can stand for a million digits.
    """
    plain = re.sub(r"[$,%\s]", "", text).replace("−", "-")
    if not _PLAIN.fullmatch(plain):
        return None
    written = format(Decimal(plain), "f")
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    written = written.removeprefix("+")
    return "0" if written in ("-0", "") else written
