"""Texts that are nearly the same, by their letters alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from star_al.acquire.diverse import BoolArray

SHINGLE = 5
"""Characters of a shingle: pieces of words, so that it works without spaces, too."""

_CHARACTERS = 20_000  # of a text that are looked at
_BLOCK = 256


class NearDuplicates:
    """Implements ``Constraint``: no candidate that is ``threshold`` or more like a chosen or a known text.

    Likeness is the cosine of the counts of shingles, in [0, 1]; 1 for texts that differ in letter case at most.
    """

    given_way = "nearly the same as another text, as all that were left are"

    def __init__(self, texts_M: Sequence[str], known_L: Sequence[str], threshold: float) -> None:
        vectors = HashingVectorizer(
            analyzer="char_wb", ngram_range=(SHINGLE, SHINGLE), alternate_sign=False, dtype=np.float64
        )
        self._shingles_M_V = vectors.transform([text[:_CHARACTERS] for text in texts_M])
        self._threshold = threshold - 1e-9  # of rounding
        self._is_like_M = np.zeros(len(texts_M), dtype=bool)
        for start in range(0, len(known_L), _BLOCK):
            known = vectors.transform([text[:_CHARACTERS] for text in known_L[start : start + _BLOCK]])
            self._mark(known)

    def prefers(self, allowed_M: BoolArray) -> BoolArray:
        """See ``Constraint.prefers``."""
        return ~self._is_like_M

    def add(self, position: int) -> None:
        """See ``Constraint.add``."""
        self._mark(self._shingles_M_V[[position]])

    def _mark(self, shingles_L_V: object) -> None:
        likeness_M_L = self._shingles_M_V @ shingles_L_V.T  # type: ignore[attr-defined]
        self._is_like_M |= likeness_M_L.max(axis=1).toarray().ravel() >= self._threshold
