"""Samples from the Laplace approximation of the head's posterior.

Samples come by perturbation: draw g ~ N(0, Λ) from the terms of the precision Λ, one noise vector for each example and
one for the prior, and solve Λ δ = g. That is exact to the tolerance, whatever the number of labels and features; a
Kronecker or block-diagonal factor is not. Directions that no example spans keep the prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from star_al.head.curvature import Curvature
from star_al.types import FloatArray, IntArray

BLOCK = 16
"""Samples that are solved together. Blocks are always whole, so a sample does not depend on the others asked for."""

TOLERANCE = 1e-5
"""Relative residual of the solution."""


@dataclass(frozen=True)
class Posterior:
    """What samples of the head are drawn from.

    Attributes:
        examples_n_r: Scaled features of the examples.
        logits_n_C: Fitted logits of the examples, offsets included.
        weights_n: How much each example counts.
        strength: Of the penalty on weights.
        bias_sd: Of the biases' prior.
    """

    examples_n_r: FloatArray
    logits_n_C: FloatArray
    weights_n: FloatArray
    strength: float
    bias_sd: float

    def deviations(self, block: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return what the samples of one block add to weights and biases, (S, r, C) and (S, C).

        Args:
            block: Number of the block; it holds samples ``BLOCK * block`` and following.
            seed: With a sample's number it decides the sample.
        """
        with threadpool_limits(1):
            basis_q_r, curvature = self._curvature()
            noise = [self._noise(seed, BLOCK * block + k, curvature) for k in range(BLOCK)]
            solution_q_S_C = curvature.solve(np.stack([right for right, _ in noise], axis=1), TOLERANCE)
            weights_S_r_C = np.stack([free for _, free in noise])
            for k, free_r_C in enumerate(weights_S_r_C):
                free_r_C += basis_q_r.T @ (solution_q_S_C[:-1, k] - basis_q_r @ free_r_C)
        return weights_S_r_C, solution_q_S_C[-1]

    def _curvature(self) -> tuple[FloatArray, Curvature]:
        left_n_q, singular_q, basis_q_r = _decomposed(self.examples_n_r)
        curvature = Curvature(
            np.column_stack([left_n_q * singular_q, np.ones(len(left_n_q))]),
            softmax(self.logits_n_C, axis=1),
            self.weights_n,
            np.append(np.full(len(singular_q), self.strength), self.bias_sd**-2.0),
        )
        return basis_q_r, curvature

    def _noise(self, seed: int, sample: int, curvature: Curvature) -> tuple[FloatArray, FloatArray]:
        """Return the right-hand side of one sample, and its draw from the prior, (r, C)."""
        generator = np.random.default_rng([seed, sample])
        n_labels = self.logits_n_C.shape[1]
        free_r_C = generator.standard_normal((self.examples_n_r.shape[1], n_labels)) / np.sqrt(self.strength)
        prior_q_C = generator.standard_normal((len(curvature.ridge_q), n_labels))
        data_n_C = generator.standard_normal(self.logits_n_C.shape)
        return curvature.noise(data_n_C, prior_q_C), free_r_C


def _decomposed(examples_n_r: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    left_n_q, singular_q, basis_q_r = np.linalg.svd(examples_n_r, full_matrices=False)
    kept = singular_q > 1e-9 * max(float(singular_q.max(initial=0.0)), 1e-30)
    return left_n_q[:, kept], singular_q[kept], basis_q_r[kept]


def blocks_of(draws: range) -> list[tuple[int, IntArray]]:
    """Return the blocks that hold these samples, each with the places of the samples in it."""
    numbers = np.asarray(draws, dtype=np.int64)
    return [(int(block), numbers[numbers // BLOCK == block] % BLOCK) for block in np.unique(numbers // BLOCK)]
