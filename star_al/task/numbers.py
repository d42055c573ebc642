"""Numbers in written answers, compared without rounding."""

from __future__ import annotations

import re
from decimal import Decimal

NUMBER = re.compile(r"(?:\$[-+−]|[-+−]?\$?)(?:\d+(?:[.,/]\d+)*|\.\d+)(?:[eE][-+−]?\d+)?%?")
"""What may be a number in a text, with all that belongs to it. ``canonical_number`` says whether it is one."""

_PLAIN = re.compile(r"([-+]?)\s*((?:\d{1,3}(?:[,\s]\d{3})+|\d+)(?:\.\d*)?|\.\d+)((?:[eE][-+]?\d{1,3})?)")
"""Sign, digits and exponent. Commas and spaces stand between groups of three digits."""


def canonical_number(text: str) -> str | None:
    """Return a number in its shortest form: ``$1,000.0``, ``1000.`` and ``1e3`` are ``1000``; None if it is no number.

    Dollar signs, per cent signs, and commas and spaces between groups of three digits are dropped. A number may have
    any length, but an exponent only three digits, since a longer one can stand for a million digits.
    """
    found = _PLAIN.fullmatch(re.sub(r"[$%]", "", text).replace("−", "-").strip())
    if found is None:
        return None
    sign, digits, exponent = found.groups()
    written = format(Decimal(sign + re.sub(r"[,\s]", "", digits) + exponent), "f")
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    written = written.removeprefix("+")
    return "0" if written in ("-0", "") else written
