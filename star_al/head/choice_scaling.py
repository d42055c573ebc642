"""Scale features of options by how they differ within a question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from star_al.head.choice_inputs import ChoiceTexts
from star_al.head.feature_scaling import COMPONENTS, SAMPLE, principal_components, unit_length
from star_al.types import Float32Array, FloatArray, IntArray


@dataclass(frozen=True)
class ChoiceScaling:
    """Maps raw features of options (R, d) to scaled ones (R, r).

    What the options of a question have in common decides nothing between them, so the scale and the components are
    those of the differences from the question's mean; their mean squared length over the pool is 1.

    Attributes:
        matrix_d_r: Divides by the standard deviations and rotates to the components.
    """

    matrix_d_r: Float32Array

    @classmethod
    def of(cls, pool: ChoiceTexts, kind: str) -> ChoiceScaling:
        """Compute the scaling of one kind of features on a pool, or return the one that the pool keeps."""
        if kind not in pool.kept:
            pool.kept[kind] = cls._computed(pool, kind)
        found: ChoiceScaling = pool.kept[kind]
        return found

    @classmethod
    def _computed(cls, pool: ChoiceTexts, kind: str) -> ChoiceScaling:
        step = -(-max(1, len(pool.features[kind])) // SAMPLE)
        sample = pool.some(np.arange(0, len(pool), step))
        apart = within_questions(unit_length(sample.features[kind].astype(np.float64)), sample)
        spread_d = apart.std(axis=0) if len(apart) else np.zeros(apart.shape[1])
        inverse_d = np.divide(1.0, spread_d, out=np.zeros_like(spread_d), where=spread_d > 1e-9)
        with threadpool_limits(1):  # several threads would add up in any order
            matrix_d_r = inverse_d[:, None] * principal_components(apart * inverse_d, COMPONENTS)
            size = np.sqrt(np.square(apart @ matrix_d_r).sum(axis=1).mean())
        return cls((matrix_d_r / max(size, 1e-12)).astype(np.float32))

    def apply(self, features_R_d: Float32Array) -> FloatArray:
        """Scale features, (R, r)."""
        scaled: FloatArray = unit_length(features_R_d.astype(np.float64)) @ self.matrix_d_r
        return scaled


def within_questions(values_R_r: FloatArray, texts: ChoiceTexts) -> FloatArray:
    """Return the differences of options from their question's mean."""
    if not len(values_R_r):
        return values_R_r
    mean_N_r = np.add.reduceat(values_R_r, texts.starts_N, axis=0) / texts.counts_N[:, None]
    question_R: IntArray = np.repeat(np.arange(len(texts)), texts.counts_N)
    apart: FloatArray = values_R_r - mean_N_r[question_R]
    return apart
