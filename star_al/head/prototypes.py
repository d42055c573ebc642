"""Prototypes of labels: where the pool's texts of a label lie, found from the labels' names and the labels bought.

A few rounds of expectation maximisation (Dempster et al. 1977). The names and the prototypes guess the label of each
text, texts with a label keep it, and a prototype is the mean of its texts. So a name that says "travel" moves to what
people write about travelling, before anybody has labelled a text. In the head, prototypes stand beside the names with a
weight of their own that cross-validation chooses: they are the mean of the weights' prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from star_al.head.feature_scaling import FloatT
from star_al.head.inputs import Examples
from star_al.types import Float32Array, FloatArray, IntArray

# Length of a prototype, in features of mean squared length 1; differences between names are about as long.
_LENGTH = 0.7
_SCALE = 15.0  # of the mean of what names and prototypes say
_ROUNDS = 5
_NEIGHBOURS = 10  # a text's guess is half its own, half the mean of so many neighbours
_LABEL = 2.0  # a labelled text counts as much as two whose label is sure
_SAMPLE = 5000  # texts that prototypes are computed from, and labelled ones


@dataclass(frozen=True)
class Prototypes:
    """The prototypes of C labels.

    Attributes:
        sums_r_C: Sums of the scaled features of each label's texts.
        examples_U: Rows of the texts with a label.
        labels_U_C: Their distribution over labels.
    """

    sums_r_C: FloatArray
    examples_U: IntArray
    labels_U_C: FloatArray

    @property
    def weights_r_C(self) -> FloatArray:
        """A linear function of scaled features for each label."""
        return _at_length(self.sums_r_C)

    def offsets(self, features_N_r: Float32Array, rows_N: IntArray) -> FloatArray:
        """Return what the prototypes say of some texts of the pool, (N, C).

        A text with a label is compared with the prototype without its own part.

        Args:
            features_N_r: Their scaled features.
            rows_N: Their rows.
        """
        found_N_C: FloatArray = features_N_r @ self.weights_r_C
        labelled_n = np.flatnonzero(np.isin(rows_N, self.examples_U))
        labels_n_C = self.labels_U_C[np.searchsorted(self.examples_U, rows_N[labelled_n])]
        at_n, at_C = np.nonzero(labels_n_C)
        own_V_r = features_N_r[labelled_n[at_n]].astype(np.float64)
        others_r_V = self.sums_r_C[:, at_C] - _LABEL * labels_n_C[at_n, at_C] * own_V_r.T
        found_N_C[labelled_n[at_n], at_C] = np.einsum("vr,rv->v", own_V_r, _at_length(others_r_V))
        return found_N_C


def find_prototypes(
    features_P_r: Float32Array,
    names: Callable[[IntArray], FloatArray],
    near_P_k: NDArray[np.integer[Any]] | None,
    examples: Examples,
) -> Prototypes:
    """Find the prototypes of a pool.

    Args:
        features_P_r: Scaled features of its texts.
        names: Returns the similarities of some rows to the labels' names, centred over the pool, (N, C).
        near_P_k: Rows of their nearest neighbours; None for no neighbours.
        examples: The labels bought; there may be none.
    """
    n_labels = names(np.zeros(0, dtype=np.int64)).shape[1]
    rows_U, labels_U_C = examples.fixed(n_labels)
    rows_S = _sampled(len(features_P_r), rows_U)
    near_S_k = rows_S[:, None][:, :0] if near_P_k is None else near_P_k[rows_S, :_NEIGHBOURS].astype(np.int64)
    rows_V = np.unique(np.concatenate([rows_S, near_S_k.ravel()]))
    of_texts = _Texts(
        features_P_r[rows_V],
        names(rows_V).astype(np.float32),
        np.searchsorted(rows_V, rows_S),
        np.searchsorted(rows_V, near_S_k),
        np.searchsorted(rows_V, rows_U),
        np.searchsorted(rows_S, rows_U),
        labels_U_C,
    )
    return Prototypes(of_texts.sums().astype(np.float64), rows_U, labels_U_C.astype(np.float64))


@dataclass(frozen=True)
class _Texts:
    """The texts that are looked at (V), those that count (S) with their neighbours, and the labelled ones (U).

    Attributes:
        features_V_r: Scaled features.
        names_V_C: Centred similarities to the labels' names.
        counted_S: Places in V of the texts that count.
        near_S_k: Places in V of their neighbours.
        labelled_U: Places in V of the labelled texts.
        labelled_in_S: Places in S of the labelled texts, all of which count.
        labels_U_C: Their distribution over labels.
    """

    features_V_r: Float32Array
    names_V_C: Float32Array
    counted_S: IntArray
    near_S_k: IntArray
    labelled_U: IntArray
    labelled_in_S: IntArray
    labels_U_C: Float32Array

    def sums(self) -> Float32Array:
        said_V_C = self.names_V_C
        for _ in range(_ROUNDS):
            guesses_S_C = self._guesses(_SCALE * said_V_C)
            sums_r_C: Float32Array = self.features_V_r[self.counted_S].T @ guesses_S_C
            said_V_C = (self.names_V_C + self.features_V_r @ _at_length(sums_r_C)) * np.float32(0.5)
        return sums_r_C

    def _guesses(self, logits_V_C: Float32Array) -> Float32Array:
        guesses_V_C = softmax(logits_V_C, axis=1)
        guesses_V_C[self.labelled_U] = self.labels_U_C
        guesses_S_C: Float32Array = guesses_V_C[self.counted_S]
        if self.near_S_k.shape[1]:
            mean_S_C = np.zeros_like(guesses_S_C)
            for near_S in self.near_S_k.T:
                mean_S_C += guesses_V_C[near_S]
            guesses_S_C = 0.5 * guesses_S_C + 0.5 / self.near_S_k.shape[1] * mean_S_C
        guesses_S_C[self.labelled_in_S] = _LABEL * self.labels_U_C
        return guesses_S_C


def _sampled(n: int, rows_U: IntArray) -> IntArray:
    """Return rows that are spread evenly over the pool, and the labelled ones, ascending."""
    if n <= _SAMPLE:
        return np.arange(n)
    return np.union1d(np.linspace(0, n - 1, _SAMPLE).astype(np.int64), rows_U)


def _at_length(sums_r_C: NDArray[FloatT]) -> NDArray[FloatT]:
    lengths_C = np.linalg.norm(sums_r_C, axis=0)
    scaled_r_C: NDArray[FloatT] = sums_r_C * (_LENGTH / np.maximum(lengths_C, 1e-9))
    return scaled_r_C
