"""TypiClust (Hacohen et al. 2022, arXiv 2202.02794): typical points for a start without labels.

Embeddings are clustered by k-means. From each cluster comes the point with the smallest mean distance to its
nearest neighbours in the cluster. Clusters of fewer than five points give none, as in the authors' code. Unlike
there, k-means looks at all points in each step, also for more than 50 clusters.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from star_al.types import FloatArray, IntArray

NEIGHBOURS = 20
"""Nearest neighbours that make a point typical, as in the paper."""

MIN_CLUSTER = 5
"""Smaller clusters are mostly outliers; they give no typical point, as in the authors' code."""

_ITERATIONS = 50  # of k-means, at most


class Typical(NamedTuple):
    """Positions of all points, most typical first, (N,), and the size of each position's cluster, (N,)."""

    order_N: IntArray
    cluster_sizes_N: IntArray


def typical_order(
    points_N_d: FloatArray, n_clusters: int, seed: int, min_cluster: int = MIN_CLUSTER
) -> Typical:
    """Order points by typicality: first the most typical of each cluster, larger clusters first, then the second.

    Points of clusters that are too small come last.

    Args:
        points_N_d: Points; equally typical ones keep their order.
        n_clusters: Number of clusters; if ``min_cluster`` is above 1, at most one for two points.
        seed: Seed of k-means, in [0, 2³²).
        min_cluster: Points that a cluster must have; 1 to take every cluster.

    Returns:
        The order, and cluster sizes.
    """
    if len(points_N_d) == 0:
        return Typical(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    most = len(points_N_d) if min_cluster <= 1 else max(1, len(points_N_d) // 2)
    clusters_N = _clusters(points_N_d, min(n_clusters, most), seed)
    sizes = np.bincount(clusters_N)
    turn_N, first_N = np.zeros((2, len(points_N_d)), dtype=np.int64)
    for cluster in np.flatnonzero(sizes):
        members = np.flatnonzero(clusters_N == cluster)
        order = np.argsort(_mean_distances(points_N_d[members]), kind="stable")
        turn_N[members[order]] = np.arange(len(members))
        first_N[members] = members[0]
    sizes_N = sizes[clusters_N]
    return Typical(np.lexsort((first_N, -sizes_N, turn_N, sizes_N < min_cluster)), sizes_N)


def _clusters(points_N_d: FloatArray, n_clusters: int, seed: int) -> IntArray:
    model = KMeans(n_clusters, n_init=1, max_iter=_ITERATIONS, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):  # several threads would add up in any order
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # there may be fewer distinct points than clusters
        clusters_N: IntArray = model.fit_predict(points_N_d).astype(np.int64)
    return clusters_N


def _mean_distances(points_N_d: FloatArray) -> FloatArray:
    """Return the mean distance to the nearest neighbours, which is the inverse of typicality, (N,)."""
    neighbours = min(NEIGHBOURS, len(points_N_d) - 1)
    if neighbours == 0:
        return np.zeros(len(points_N_d))
    distances_N_n, _ = (
        NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(points_N_d).kneighbors()
    )
    mean_N: FloatArray = distances_N_n.mean(axis=1)
    return mean_N
