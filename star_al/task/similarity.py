"""How similar two texts are, from 0 to 1. The libraries are loaded when they are first needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

_WORD = re.compile(r"\w+")


def chrf(answer: str, reference: str) -> float:
    """Return chrF, which weighs recall twice. Source: Popović 2015, "chrF: character n-gram F-score"."""
    return _chrf(answer, reference, beta=2)


def likeness(one: str, other: str) -> float:
    """Return chrF with equal weights, so that both texts may change places."""
    return _chrf(one, other, beta=1)


def rouge_l(answer: str, reference: str) -> float:
    """Return ROUGE-L's F1: of the longest sequence of words that both have, in order. Source: Lin 2004.

    Words are of any script. rouge-score, which the tests compare it with, knows Latin letters only, and takes
    hours for answers of 100 kB.
    """
    from rapidfuzz.distance import LCSseq

    if answer == reference:
        return 1.0  # also without words
    words, wanted = _words(answer), _words(reference)
    common = LCSseq.similarity(words, wanted)
    return 2 * common / (len(words) + len(wanted)) if common else 0.0


def edit_distance(one: str, other: str) -> float:
    """Return the share of characters to insert, delete or replace, of the longer text: 0 for equal texts."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_distance(one, other))


def medoid(texts: Sequence[str]) -> int:
    """Return the position of the text that is most like all others by chrF; the first of equal ones."""
    sums = [sum(likeness(text, other) for other in texts) for text in texts]
    return max(range(len(texts)), key=lambda index: (sums[index], -index))


def _chrf(answer: str, reference: str, beta: int) -> float:
    if answer == reference:
        return 1.0
    return min(float(_measure(beta).sentence_score(answer, [reference]).score) / 100, 1.0)


@lru_cache
def _measure(beta: int) -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(beta=beta)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())
