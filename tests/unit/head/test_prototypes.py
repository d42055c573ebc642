"""Prototypes of labels: names that are beside the texts move to them, and labels move them further."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from star_al.head import (
    Examples,
    FittedHead,
    HeadOptions,
    HeadPredictor,
    PoolTexts,
    fit_head,
    neighbour_graph,
)
from star_al.head import prototypes as module
from star_al.head.prototypes import find_prototypes
from star_al.types import Float32Array, FloatArray, IntArray

NONE = Examples(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def topics(seed: int = 0, n: int = 300) -> tuple[Float32Array, FloatArray, IntArray]:
    """Texts around four directions, their centred similarities to names beside these directions, and their labels."""
    random = np.random.default_rng(seed)
    centres_C_d = np.eye(4, 16)
    targets_N = random.integers(4, size=n)
    texts_N_d = centres_C_d[targets_N] + 0.3 * random.standard_normal((n, 16))
    texts_N_d /= np.linalg.norm(texts_N_d, axis=1, keepdims=True)
    names_C_d = centres_C_d + 0.6 * np.roll(centres_C_d, 1, axis=0) + 0.3 * random.standard_normal((4, 16))
    similarities_N_C = texts_N_d @ names_C_d.T
    return texts_N_d.astype(np.float32), similarities_N_C - similarities_N_C.mean(axis=0), targets_N


def accuracy(pool: PoolTexts, targets_N: IntArray, examples: Examples, prototypes: bool = True) -> float:
    head = fit_head(pool, examples, 4, HeadOptions(prototypes=prototypes))
    return float((HeadPredictor(head, pool).predict_pool()[:, 0].argmax(axis=1) == targets_N).mean())


def offset_weights(head: FittedHead) -> dict[str, float]:
    return cast("dict[str, float]", head.record["offset_weights"])


def test_without_labels_names_move_to_the_texts_of_the_pool() -> None:
    texts_N_d, names_N_C, targets_N = topics()
    pool = PoolTexts({"encoder": texts_N_d}, {"label_names": names_N_C}, neighbour_graph(texts_N_d))
    by_names = accuracy(pool, targets_N, NONE, prototypes=False)
    assert accuracy(pool, targets_N, NONE) > by_names + 0.05


def test_labels_move_prototypes() -> None:
    texts_N_d, names_N_C, targets_N = topics()
    rows = np.arange(12)
    told = find_prototypes(texts_N_d, names_N_C.__getitem__, None, Examples(rows, (targets_N[rows] + 1) % 4))
    untold = find_prototypes(texts_N_d, names_N_C.__getitem__, None, NONE)
    own_n = (texts_N_d[rows] @ (told.weights_r_C - untold.weights_r_C))[rows, (targets_N[rows] + 1) % 4]
    assert (own_n > 0).mean() > 0.8


def test_a_labelled_text_is_compared_with_the_prototype_without_it() -> None:
    texts_N_d, names_N_C, targets_N = topics(n=60)
    found = find_prototypes(texts_N_d, names_N_C.__getitem__, None, Examples(np.arange(10), targets_N[:10]))
    offsets_N_C = found.offsets(texts_N_d, np.arange(60))
    for row in range(60):
        for label in range(4):
            sums_r = found.sums_r_C[:, label].copy()
            if row < 10 and label == targets_N[row]:
                sums_r -= module._LABEL * texts_N_d[row]
            direction_r = module._LENGTH * sums_r / np.linalg.norm(sums_r)
            assert offsets_N_C[row, label] == pytest.approx(texts_N_d[row] @ direction_r, abs=1e-6)
    some = np.array([59, 3, 0, 3, 30])  # in any order, a text as often as one likes
    np.testing.assert_allclose(found.offsets(texts_N_d[some], some), offsets_N_C[some], atol=1e-12)


def test_of_a_large_pool_a_part_is_looked_at_and_all_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    texts_N_d, names_N_C, targets_N = topics()
    near_N_k = neighbour_graph(texts_N_d).indices_N_k
    labelled = Examples(np.array([1, 2, 3]), targets_N[1:4])
    whole = find_prototypes(texts_N_d, names_N_C.__getitem__, near_N_k, labelled)
    monkeypatch.setattr(module, "_SAMPLE", 100)
    part = find_prototypes(texts_N_d, names_N_C.__getitem__, near_N_k, labelled)
    cosines_C = (whole.weights_r_C * part.weights_r_C).sum(axis=0) / module._LENGTH**2
    assert (cosines_C > 0.9).all()
    assert not np.array_equal(whole.sums_r_C, part.sums_r_C)


def test_the_head_holds_the_prototypes_in_its_weights() -> None:
    texts_N_d, names_N_C, _ = topics()
    pool = PoolTexts({"encoder": texts_N_d}, {"label_names": names_N_C}, None)
    head = fit_head(pool, NONE, 4)
    assert head.offset_weights.keys() == {"label_names"}
    features_N_r = head.reader.features(pool)
    found = find_prototypes(features_N_r, lambda rows: head.reader.offsets(pool, rows)[0], None, NONE)
    weight = offset_weights(head)["prototypes"]
    assert weight > 0
    np.testing.assert_allclose(head.weights_r_C, weight * found.weights_r_C, atol=1e-6)


def test_without_names_or_with_prototypes_switched_off_a_head_is_as_before() -> None:
    texts_N_d, names_N_C, targets_N = topics()
    rows = np.arange(40)
    plain = PoolTexts({"encoder": texts_N_d}, {}, None)
    named = PoolTexts({"encoder": texts_N_d}, {"label_names": names_N_C}, None)
    for pool, on in ((plain, True), (named, False)):
        head = fit_head(pool, Examples(rows, targets_N[rows]), 4, HeadOptions(prototypes=on))
        assert "prototypes" not in offset_weights(head)
    assert accuracy(named, targets_N, Examples(rows, targets_N[rows])) > 0.8
