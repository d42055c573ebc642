"""What the frozen language model makes of completions, computed once an item and kept.

Rewards compare an adapted model with it (docs/methods.md, "Preference").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from star_al.models.encoded import Encoded
from star_al.models.feature_store import FeatureStore, Positions, paged
from star_al.models.prompts import Prompt
from star_al.ports import Advance
from star_al.types import Float32Array, FloatArray

_VERSION = 1  # of what is kept

PAGE = 64
"""Items that are read before they are kept: some of them take seconds each."""


class ReferenceLikelihoods:
    """Log-likelihoods of completions by one frozen model and prompt.

    Args:
        folder: Where they are kept; None to keep them in memory.
        depends_on: What they depend on: the model, the prompt and the dtype.
        limit: Bytes that the folder may take, features for a head included.
        say: Called with messages for the user.
    """

    def __init__(
        self, folder: Path | None, depends_on: Sequence[str], limit: int, say: Callable[[str], None]
    ) -> None:
        key = hashlib.sha256(json.dumps(["reference", _VERSION, *depends_on]).encode()).hexdigest()
        self._store = None if folder is None else FeatureStore(folder, key, limit, say)
        self._found: dict[str, Float32Array] = {}  # of all calls without a folder, else of the latest one

    def of(
        self, prompts: Sequence[Prompt], read: Callable[[Sequence[Prompt]], FloatArray], advance: Advance
    ) -> FloatArray:
        """Return log p₀ of the completions of prompts, (N, 2).

        Args:
            prompts: The prompts.
            read: Computes those that are missing; a prompt gets the same bits whatever is read with it.
            advance: Counts prompts.
        """
        wanted = {prompt.item_id: prompt for prompt in prompts}
        if self._store is not None:  # a pool may be larger than the memory
            self._found = {item_id: row for item_id, row in self._found.items() if item_id in wanted}
        missing = [prompt for item_id, prompt in wanted.items() if item_id not in self._found]
        if missing:
            self._find(missing, read)
        advance(len(prompts))
        return np.array([self._found[prompt.item_id] for prompt in prompts], dtype=np.float64).reshape(-1, 2)

    def _find(self, prompts: Sequence[Prompt], read: Callable[[Sequence[Prompt]], FloatArray]) -> None:
        def encode(page: Positions) -> Encoded:
            rows = read([prompts[position] for position in page]).astype(np.float32)
            return Encoded(rows, np.zeros(len(rows), dtype=bool))

        ids = [prompt.item_id for prompt in prompts]
        if self._store is None:
            rows = encode(np.arange(len(prompts))).vectors_N_d
        else:
            rows = self._store.rows(ids, paged(encode, PAGE)).vectors_N_d
        self._found |= {item_id: np.array(row) for item_id, row in zip(ids, rows, strict=True)}


def log_probs_per_token(prompts: Sequence[Prompt], reference_N_C: FloatArray) -> FloatArray:
    """Return which completion the frozen model finds likelier a token, as log-probabilities (N, C).

    By their rewards it prefers none. By whole log-likelihoods it would prefer the shorter one.
    """
    lengths_N_C = np.array([[len(label) for label in prompt.labels] for prompt in prompts], dtype=np.float64)
    means_N_C = reference_N_C / lengths_N_C.reshape(reference_N_C.shape)
    found: FloatArray = means_N_C - np.logaddexp.reduce(means_N_C, axis=1, keepdims=True)
    return found
