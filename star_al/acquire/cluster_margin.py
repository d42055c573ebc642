"""Cluster-margin: the most uncertain texts, spread over clusters of the pool (Citovsky et al. 2021, arXiv 2107.14263).

The pool is clustered once. Each batch takes from the most uncertain texts one of each cluster in turn, the
smallest clusters first, so that large clusters of similar texts do not fill it.

Two differences to the paper. Hierarchical clustering takes quadratic time, so it clusters a sample of the pool;
every other text joins the cluster of the nearest text of the sample. And of each cluster comes its most uncertain
text, not a random one.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from star_al.acquire.greedy import BoolArray
from star_al.acquire.kernels import Points
from star_al.types import IntArray

SAMPLE = 4000
"""Texts of the pool that are clustered; their distances take 64 MB."""

TEXTS_PER_CLUSTER = 10
"""Mean number of clustered texts in a cluster."""

_BLOCK = 2048  # texts whose similarities to the sample are held at once


class ClusterMargin:
    """The round robin over clusters; implements ``GreedyRule``.

    Args:
        clusters_M: The cluster of each candidate, most uncertain candidate first.
    """

    def __init__(self, clusters_M: IntArray) -> None:
        _, first, self._cluster_M, sizes = np.unique(
            clusters_M, return_index=True, return_inverse=True, return_counts=True
        )
        self._chosen = np.zeros(len(sizes), dtype=np.int64)
        self._turn = np.empty(len(sizes), dtype=np.int64)
        self._turn[np.lexsort((first, sizes))] = np.arange(len(sizes))

    def pick(self, allowed_M: BoolArray) -> int:
        """See ``GreedyRule.pick``."""
        allowed = np.flatnonzero(allowed_M)
        # Every cluster has had a turn before any has another; a cluster without allowed texts is passed over.
        key_M = (self._chosen * len(self._turn) + self._turn)[self._cluster_M[allowed]]
        return int(allowed[key_M.argmin()])

    def add(self, position: int) -> None:
        """See ``GreedyRule.add``."""
        self._chosen[self._cluster_M[position]] += 1


def pool_clusters(sample_S_d: Points, points_M_d: Points) -> IntArray:
    """Assign texts to clusters of the pool.

    Args:
        sample_S_d: Unit vectors of at least one text of the pool, at most about ``SAMPLE``. They are clustered by
            average linkage of their distances, cut where the mean cluster has ``TEXTS_PER_CLUSTER`` texts.
        points_M_d: Unit vectors of the texts to assign. Each joins the cluster of the nearest text of the sample.

    Returns:
        The number of each text's cluster, (M,).
    """
    clusters_S = np.zeros(len(sample_S_d), dtype=np.int64)
    if len(sample_S_d) > 1:
        tree = linkage(pdist(sample_S_d), method="average")
        clusters_S = fcluster(tree, max(1, len(sample_S_d) // TEXTS_PER_CLUSTER), criterion="maxclust")
    nearest_M = np.empty(len(points_M_d), dtype=np.int64)
    for start in range(0, len(points_M_d), _BLOCK):
        block = slice(start, start + _BLOCK)
        nearest_M[block] = (points_M_d[block] @ sample_S_d.T).argmax(axis=1)
    clusters_M: IntArray = clusters_S[nearest_M].astype(np.int64)
    return clusters_M
