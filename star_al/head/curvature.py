"""The curvature of the penalised log-likelihood of a multinomial model, and equations in it.

Λ = Σ_i ω_i (diag p_i − p_i p_iᵀ) ⊗ φ_i φ_iᵀ + ridge is the Hessian of the fit and the precision of its posterior.
With 77 labels and 128 components it has 10,000 rows, too many to factorise in a round. Its product with a vector
costs no more than a prediction, so equations are solved by conjugate gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from star_al.types import FloatArray


@dataclass(frozen=True)
class Curvature:
    """The curvature at fitted probabilities. Vectors have shape (q, S, C): S of them are handled together.

    Attributes:
        design_n_q: The examples.
        probs_n_C: Their predicted probabilities.
        weights_n: How much each example counts.
        ridge_q: Penalty on each row of the weights.
    """

    design_n_q: FloatArray
    probs_n_C: FloatArray
    weights_n: FloatArray
    ridge_q: FloatArray

    def times(self, values_q_S_C: FloatArray) -> FloatArray:
        """Multiply by the curvature."""
        q, vectors, labels = values_q_S_C.shape
        flat_n = self.design_n_q @ values_q_S_C.reshape(q, vectors * labels)
        logits_n_S_C = flat_n.reshape(-1, vectors, labels)
        logits_n_S_C *= self.probs_n_C[:, None]
        logits_n_S_C -= self.probs_n_C[:, None] * logits_n_S_C.sum(axis=2, keepdims=True)
        logits_n_S_C *= self.weights_n[:, None, None]
        product: FloatArray = (self.design_n_q.T @ flat_n).reshape(values_q_S_C.shape)
        product += self.ridge_q[:, None, None] * values_q_S_C
        return product

    @cached_property
    def diagonal_q_C(self) -> FloatArray:
        """The diagonal."""
        spread_n_C = self.weights_n[:, None] * self.probs_n_C * (1 - self.probs_n_C)
        diagonal: FloatArray = (self.design_n_q**2).T @ spread_n_C + self.ridge_q[:, None]
        return diagonal

    def noise(self, data_n_C: FloatArray, prior_q_C: FloatArray) -> FloatArray:
        """Map standard normal noise to noise whose covariance is the curvature, (q, C).

        diag(√p) − p √pᵀ is a square root of diag p − p pᵀ.
        """
        root_n_C = np.sqrt(self.probs_n_C)
        shared_n = (root_n_C * data_n_C).sum(axis=1)
        of_data_n_C = root_n_C * data_n_C - self.probs_n_C * shared_n[:, None]
        of_data_n_C *= np.sqrt(self.weights_n)[:, None]
        total: FloatArray = self.design_n_q.T @ of_data_n_C + np.sqrt(self.ridge_q)[:, None] * prior_q_C
        return total

    def solve(self, right_q_S_C: FloatArray, tolerance: float, iterations: int = 500) -> FloatArray:
        """Solve for S right-hand sides by conjugate gradients, preconditioned with the diagonal.

        The preconditioner is good in a basis in which the examples are uncorrelated.

        Args:
            right_q_S_C: Right-hand sides.
            tolerance: Residual at which to stop, relative to the right-hand side, in the preconditioner's norm.
            iterations: Where to stop at the latest.
        """
        scale = 1.0 / self.diagonal_q_C[:, None]
        solution = np.zeros_like(right_q_S_C)
        residual = right_q_S_C.copy()
        stepped = scale * residual
        direction = stepped
        size_S = _dot(residual, stepped)
        goal_S = tolerance**2 * size_S
        for _ in range(iterations):
            if (size_S <= goal_S).all():
                break
            image = self.times(direction)
            step_S = size_S / np.maximum(_dot(direction, image), 1e-300)
            solution += step_S[:, None] * direction
            residual -= step_S[:, None] * image
            stepped = scale * residual
            before_S, size_S = size_S, _dot(residual, stepped)
            direction = stepped + (size_S / np.maximum(before_S, 1e-300))[:, None] * direction
        return solution


def _dot(left_q_S_C: FloatArray, right_q_S_C: FloatArray) -> FloatArray:
    product: FloatArray = np.einsum("qsc,qsc->s", left_q_S_C, right_q_S_C)
    return product
