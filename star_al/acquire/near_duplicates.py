"""Texts that are nearly the same, letter by letter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from star_al.acquire.greedy import BoolArray

SHINGLE = 5
"""Characters of a shingle. Pieces of words, unlike words, need no spaces between them."""

_CHARACTERS = 20_000  # of a text, beyond which it is not compared
_BLOCK = 256  # known texts whose similarities are held at once


class NearDuplicates:
    """Excludes near-duplicates of chosen and known texts; implements ``Constraint``.

    Similarity is the cosine of shingle counts, in [0, 1]; 1 for texts that differ in letter case at most.

    Args:
        texts_M: Texts of the candidates.
        known_L: Texts that were chosen or labelled before.
        threshold: Similarity from which on texts count as near-duplicates.
    """

    note_if_ignored = "nearly the same as another text, like all that were left"

    def __init__(self, texts_M: Sequence[str], known_L: Sequence[str], threshold: float) -> None:
        vectors = HashingVectorizer(
            analyzer="char_wb", ngram_range=(SHINGLE, SHINGLE), alternate_sign=False, dtype=np.float64
        )
        self._shingles_M_V = vectors.transform([text[:_CHARACTERS] for text in texts_M])
        # By column, the texts that share a shingle with one are found without passing over all of them.
        self._by_shingle_M_V = self._shingles_M_V.tocsc()
        self._threshold = threshold - 1e-9  # rounding may put equal texts below 1
        self._is_similar_M = np.zeros(len(texts_M), dtype=bool)
        for start in range(0, len(known_L), _BLOCK):
            known = vectors.transform([text[:_CHARACTERS] for text in known_L[start : start + _BLOCK]])
            self._mark(known)

    def prefers(self, allowed_M: BoolArray) -> BoolArray:
        """See ``Constraint.prefers``."""
        return ~self._is_similar_M

    def add(self, position: int) -> None:
        """See ``Constraint.add``."""
        row = slice(*self._shingles_M_V.indptr[position : position + 2])
        shared = self._by_shingle_M_V[:, self._shingles_M_V.indices[row]]
        similarity_M = shared @ self._shingles_M_V.data[row]
        self._is_similar_M |= similarity_M >= self._threshold

    def _mark(self, shingles_L_V: csr_matrix) -> None:
        """Mark the candidates that are near-duplicates of any of the given texts."""
        similarity_M_L = self._shingles_M_V @ shingles_L_V.T
        self._is_similar_M |= similarity_M_L.max(axis=1).toarray().ravel() >= self._threshold
