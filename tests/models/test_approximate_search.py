"""Approximate search finds nearly all nearest texts, the same each time, and says what to install."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from star_al.errors import ModelError
from star_al.head import EXACT_LIMIT, UnitVectors, exact_search
from star_al.models.approximate_search import ApproximateSearch, search_for
from star_al.types import Float32Array


def points(n: int, seed: int = 0) -> Float32Array:
    """Unit vectors in clusters, as the sentence vectors of a pool are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((60, 24))
    found = centres[rng.integers(60, size=n)] + 0.6 * rng.standard_normal((n, 24))
    unit: Float32Array = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_most_of_the_nearest_are_found() -> None:
    base, queries = points(20_000), points(300, seed=1)
    found, exact = (search(queries, UnitVectors(base), 5) for search in (ApproximateSearch(), exact_search))
    shared = [len(set(a) & set(b)) for a, b in zip(found.indices_N_k, exact.indices_N_k, strict=True)]
    assert np.mean(shared) > 0.93 * 5
    assert found.indices_N_k.dtype == np.int32 and found.similarities_N_k.dtype == np.float32
    expected = np.einsum("nd,nkd->nk", queries, base[found.indices_N_k])
    np.testing.assert_allclose(found.similarities_N_k, expected, atol=1e-5)
    assert (np.diff(found.similarities_N_k, axis=1) <= 1e-6).all()


def test_two_builds_find_the_same() -> None:
    base, queries = points(5000), points(100, seed=1)
    first, second = (ApproximateSearch()(queries, UnitVectors(base), 5) for _ in range(2))
    np.testing.assert_array_equal(first.indices_N_k, second.indices_N_k)
    np.testing.assert_array_equal(first.similarities_N_k, second.similarities_N_k)


def test_another_base_has_another_index() -> None:
    search, queries = ApproximateSearch(), points(10)
    for seed in range(2):
        base = UnitVectors(points(500, seed))
        np.testing.assert_array_equal(
            search(queries, base, 1).indices_N_k, exact_search(queries, base, 1).indices_N_k
        )


def test_places_that_stay_empty_repeat_the_nearest() -> None:
    base = points(3)
    found = ApproximateSearch()(base, UnitVectors(base), 5)
    assert (found.indices_N_k >= 0).all() and found.indices_N_k[:, 0].tolist() == [0, 1, 2]


def test_small_pools_are_searched_exactly_and_large_ones_need_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search_for(EXACT_LIMIT) is exact_search
    assert isinstance(search_for(EXACT_LIMIT + 1), ApproximateSearch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'star-al\[neighbours\]', or set head.neighbours: 0"):
        search_for(EXACT_LIMIT + 1)
