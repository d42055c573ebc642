"""Made-up texts for tests of the head: clusters of embeddings, one label each, with names that point at them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from star_al.head import LABEL_NAMES, Examples, LabelNames, PoolTexts, TextFeatures, neighbour_graph
from star_al.types import Float32Array, FloatArray, IntArray


@dataclass(frozen=True)
class Clusters:
    pool: PoolTexts
    labels_P: IntArray
    new: TextFeatures
    new_labels_N: IntArray

    def examples(self, n: int) -> Examples:
        return Examples(np.arange(n), self.labels_P[:n])


def clusters(
    n_labels: int = 4,
    n: int = 300,
    d: int = 20,
    noise: float = 1.0,
    seed: int = 0,
    names: bool = True,
    neighbours: bool = True,
    misleading: bool = False,
) -> Clusters:
    """Make a pool and as many new texts; misleading similarities are those of other texts."""
    generator = np.random.default_rng(seed)
    centres_C_d = generator.standard_normal((n_labels, d))
    labels = generator.integers(0, n_labels, 2 * n)
    texts = (centres_C_d[labels] + noise * generator.standard_normal((2 * n, d)) + 3).astype(np.float32)
    name_C_d = centres_C_d + 0.5 * generator.standard_normal((n_labels, d))
    labels_of = LabelNames((name_C_d + 3).astype(np.float32))

    def offsets(embeddings: Float32Array) -> dict[str, FloatArray]:
        similarities = labels_of.similarities(generator.permutation(embeddings) if misleading else embeddings)
        return {LABEL_NAMES: similarities} if names else {}

    pool, new = texts[:n], texts[n:]
    return Clusters(
        PoolTexts({"encoder": pool}, offsets(pool), neighbour_graph(pool) if neighbours else None),
        labels[:n],
        TextFeatures({"encoder": new}, offsets(new)),
        labels[n:],
    )
