"""MaxHerding: a start that covers the pool (Bae et al. 2024, arXiv 2407.12212).

    f(S) = Σ_i w_i max_{j ∈ S} max(0, cos(x_i, x_j))

S begins with the texts that were asked before. In the paper all weights are 1; where a model can already guess labels
by their names, texts whose label it leaves open may weigh more (``open_label_weights``). The paper leaves the kernel
open and uses an RBF. The clipped cosine was the most even of those tried (docs/methods.md, "Cold start"), and has no
width to choose.

Names that say little about the texts mislead. So they count only if the classes that they predict are nearly as
compact as clusters of the embeddings, which takes no labels to find out.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from star_al.acquire.blend import normalise
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.kernels import Points
from star_al.acquire.measures import margin
from star_al.types import FloatArray, IntArray

OPEN_SHARE = 0.8
"""Share of a text's weight that falls to 0 where its label is sure; the rest keeps all of the pool in view."""

COMPACT = 0.6
"""How compact predicted classes must be, from 0 for classes by chance to 1 for k-means clusters."""

_SAMPLE = 2000  # texts whose classes and clusters are compared


def herding(points_M_d: Points, known_L_d: Points, weights_M: FloatArray | None = None) -> FacilityLocation:
    """Return the greedy rule of MaxHerding.

    Args:
        points_M_d: Unit vectors of the candidates.
        known_L_d: Unit vectors of the items that were asked before.
        weights_M: Weights of the candidates as texts to cover; None for 1 each.
    """
    weights_M = np.ones(len(points_M_d)) if weights_M is None else weights_M
    return FacilityLocation(points_M_d, weights_M, known_L_d)


def open_label_weights(log_probs_M_C: FloatArray, points_M_d: Points, seed: int) -> FloatArray | None:
    """Weigh texts by how open their label is: from 1 for the smallest margin to 0.2 for the largest.

    Args:
        log_probs_M_C: Predictions by the labels' names alone.
        points_M_d: Unit vectors of the texts.
        seed: Seed of the comparison with clusters, in [0, 2³²).

    Returns:
        Weights (M,); None if the predicted classes are not compact, so that the names do not count.
    """
    if compactness(log_probs_M_C.argmax(axis=1), points_M_d, log_probs_M_C.shape[1], seed) < COMPACT:
        return None
    return 1.0 - OPEN_SHARE * (1.0 - normalise(margin(log_probs_M_C[:, None, :]), "minmax"))


def compactness(classes_M: IntArray, points_M_d: Points, n_classes: int, seed: int) -> float:
    """Return the variance that classes explain, scaled so that random directions give 0 and k-means clusters 1.

    Args:
        classes_M: The class of each text.
        points_M_d: Unit vectors of the texts.
        n_classes: Number of classes, most of which may be empty.
        seed: Seed, in [0, 2³²).
    """
    from sklearn.cluster import KMeans  # slow to import

    random = np.random.default_rng(seed)
    some = np.sort(random.permutation(len(points_M_d))[:_SAMPLE])
    points_S_d, classes_S = points_M_d[some].astype(np.float64), classes_M[some]
    if len(some) <= n_classes:
        return 0.0
    by_chance_S = (points_S_d @ random.standard_normal((points_S_d.shape[1], n_classes))).argmax(axis=1)
    with threadpool_limits(1):  # several threads would add up in any order
        clusters_S = KMeans(n_classes, n_init=1, random_state=seed).fit_predict(points_S_d)
    low, high = _explained(by_chance_S, points_S_d), _explained(clusters_S, points_S_d)
    return (_explained(classes_S, points_S_d) - low) / (high - low) if high > low else 0.0


def _explained(classes_S: IntArray, points_S_d: FloatArray) -> float:
    """Return the sum of squares between classes."""
    moved_S_d = points_S_d - points_S_d.mean(axis=0)
    total = 0.0
    for members in (classes_S == each for each in np.unique(classes_S)):
        total += float(members.sum() * (moved_S_d[members].mean(axis=0) ** 2).sum())
    return total
