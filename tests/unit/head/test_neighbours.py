from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al.head import neighbours as module
from star_al.head.feature_scaling import unit_length
from star_al.head.neighbours import (
    Neighbours,
    UnitVectors,
    exact_search,
    load_graph,
    neighbour_graph,
    neighbour_mean,
    save_graph,
)
from star_al.types import Float32Array


@pytest.mark.parametrize(("n", "k"), [(30, 5), (700, 20), (700, 1)])
def test_exact_search_finds_what_sorting_all_pairs_finds(
    monkeypatch: pytest.MonkeyPatch, n: int, k: int
) -> None:
    monkeypatch.setattr(module, "_COLUMNS", 256)  # so that groups and several blocks are used
    monkeypatch.setattr(module, "_GROUP", 8)
    monkeypatch.setattr(module, "_QUERIES", 100)
    generator = np.random.default_rng(0)
    base = unit_length(generator.standard_normal((n, 8)).astype(np.float32))
    queries = unit_length(generator.standard_normal((150, 8)).astype(np.float32))
    found = exact_search(queries, UnitVectors(base), k)
    similarities = queries @ base.T
    expected = np.argsort(-similarities, axis=1)[:, :k]
    best = np.take_along_axis(similarities, expected, axis=1)
    assert np.abs(found.similarities_N_k - best).max() <= 1e-6
    assert (found.indices_N_k == expected).mean() > 0.999


def test_unit_vectors_are_kept_only_when_asked_to() -> None:
    raw = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    vectors = UnitVectors(raw)
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors.rows(), expected, atol=1e-6)
    np.testing.assert_array_equal(vectors.rows(slice(3, 7)), vectors.rows()[3:7])
    assert vectors.rows() is not vectors.rows()
    assert np.shares_memory(vectors.kept_P_d, vectors.rows())


def test_a_text_is_no_neighbour_of_its_own() -> None:
    embeddings = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    graph = neighbour_graph(embeddings, 7)
    assert graph.indices_N_k.shape == (50, 7)
    assert not (graph.indices_N_k == np.arange(50)[:, None]).any()


def test_equal_texts_are_neighbours_of_each_other() -> None:
    embeddings = np.vstack([np.ones((30, 4)), -np.ones((30, 4))]).astype(np.float32)
    graph = neighbour_graph(embeddings, 5)
    assert (graph.indices_N_k[:30] < 30).all()
    assert (graph.indices_N_k[30:] >= 30).all()
    assert not (graph.indices_N_k == np.arange(60)[:, None]).any()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_small_pool_has_fewer_neighbours(n: int) -> None:
    graph = neighbour_graph(np.eye(3, 4, dtype=np.float32)[:n], 20)
    assert graph.indices_N_k.shape == (n, max(n - 1, 0))


def test_another_search_can_be_plugged_in() -> None:
    asked: list[int] = []

    def search(queries: Float32Array, base: UnitVectors, k: int) -> Neighbours:
        asked.append(k)
        return exact_search(queries, base, k)

    neighbour_graph(np.eye(6, dtype=np.float32), 2, search)
    assert asked == [3]


def test_the_mean_over_neighbours_is_that_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    probs = generator.random((9, 3)).astype(np.float32)
    indices = generator.integers(0, 9, (4, 5))
    expected = [np.mean([probs[j] for j in row], axis=0) for row in indices]
    np.testing.assert_allclose(neighbour_mean(probs, indices), expected, atol=1e-6)


def test_of_a_written_graph_it_is_read_which_texts_are_near(tmp_path: Path) -> None:
    graph = neighbour_graph(np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32), 5)
    save_graph(graph, tmp_path / "a")
    save_graph(graph, tmp_path / "b")
    read = load_graph(tmp_path / "a")
    np.testing.assert_array_equal(read.indices_N_k, graph.indices_N_k)
    assert read.similarities_N_k.shape == (20, 0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
