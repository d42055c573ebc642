"""Multinomial ridge: logistic regression with an L2 penalty and fixed offsets.

log p(c | x) = w_c·φ(x) + b_c + o_c(x) − log Z. The penalty is α/2 ‖W‖² + ‖b‖² / (2 σ²): a bias has a prior of its own,
because a label that few examples have drawn yet is not a rare label.

The problem is solved by Newton's method in the basis of the examples' singular vectors. There it has at most n rows
however many features there are, and its Hessian is nearly diagonal, so that a step takes few conjugate gradients: a fit
of 385 examples of 77 labels takes 20 ms from a warm start. L-BFGS takes four times as long, and a classifier by least
squares, though faster, has 7 to 13 points less accuracy with many labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from star_al.head.curvature import Curvature
from star_al.types import FloatArray, IntArray

EXACT = 1e-4
"""Largest slope at the end of a fit that is kept, in variables of curvature 1."""

ROUGH = 0.1
"""The same for a fit of cross-validation: its log-likelihood is then within a nat of the optimum's."""

_ROUGH_STEP = 0.3  # residual of a Newton step
_ITERATIONS = 50  # of conjugate gradients in a step, at most
_STEPS = 100  # of Newton's method, at most
_HALVINGS = 20  # of a step, at most


class Penalty(NamedTuple):
    """Strength α of the penalty on the weights, and the standard deviation σ of the biases' prior."""

    strength: float
    bias_sd: float


class Weights(NamedTuple):
    """Weights (r, C) in the basis of the examples, and biases (C,)."""

    basis_r_C: FloatArray
    bias_C: FloatArray


@dataclass(frozen=True)
class RidgeProblem:
    """Labelled examples, prepared for many fits with other penalties, offsets and subsets.

    Attributes:
        coordinates_n_r: The examples in their own basis; the rows keep their inner products.
        basis_r_d: The basis, orthonormal.
        targets_n: Columns of the labels.
        weights_n: How much each example counts.
        n_labels: C.
    """

    coordinates_n_r: FloatArray
    basis_r_d: FloatArray
    targets_n: IntArray
    weights_n: FloatArray
    n_labels: int

    @classmethod
    def of(
        cls, features_n_d: FloatArray, targets_n: IntArray, n_labels: int, weights_n: FloatArray | None = None
    ) -> RidgeProblem:
        """Prepare examples.

        Args:
            features_n_d: Scaled features.
            targets_n: Columns of the labels.
            n_labels: C; labels may have no example.
            weights_n: Not negative; None counts each example once.
        """
        features_n_d = np.asarray(features_n_d, dtype=np.float64)
        left_n_r, singular_r, basis_r_d = np.linalg.svd(features_n_d, full_matrices=False)
        kept = singular_r > 1e-9 * max(float(singular_r.max(initial=0.0)), 1e-30)
        weights = np.ones(len(targets_n)) if weights_n is None else np.asarray(weights_n, dtype=np.float64)
        return cls(
            left_n_r[:, kept] * singular_r[kept],
            basis_r_d[kept],
            np.asarray(targets_n, dtype=np.int64),
            weights,
            n_labels,
        )

    def fit(
        self,
        penalty: Penalty,
        offsets_n_C: FloatArray | None,
        *,
        rows: IntArray | None = None,
        start: Weights | None = None,
        slope: float = EXACT,
    ) -> Weights:
        """Minimise the penalised negative log-likelihood.

        Args:
            penalty: Of weights and biases.
            offsets_n_C: Added to the logits of all examples; None for 0.
            rows: Fit on these examples alone; None for all.
            start: Weights of a similar fit, to start from.
            slope: The largest slope at which the fit ends, in variables of curvature 1.
        """
        chosen = slice(None) if rows is None else rows
        coordinates = self.coordinates_n_r[chosen]
        offsets = np.zeros((len(self.targets_n), self.n_labels)) if offsets_n_C is None else offsets_n_C
        problem = _Fit(
            np.column_stack([coordinates, np.ones(len(coordinates))]),
            np.append(np.full(coordinates.shape[1], penalty.strength), penalty.bias_sd**-2.0),
            self.targets_n[chosen],
            self.weights_n[chosen],
            offsets[chosen],
        )
        begin = None if start is None else np.vstack([start.basis_r_C, start.bias_C])
        solution = problem.solve(begin, slope)
        return Weights(solution[:-1], solution[-1])

    def logits(self, weights: Weights, offsets_n_C: FloatArray | None, rows: IntArray) -> FloatArray:
        """Return the logits of examples ``rows``, (len(rows), C)."""
        logits: FloatArray = self.coordinates_n_r[rows] @ weights.basis_r_C + weights.bias_C
        return logits if offsets_n_C is None else logits + offsets_n_C[rows]


@dataclass(frozen=True)
class _Fit:
    """One fit by Newton's method, each step solved roughly by conjugate gradients."""

    design_m_q: FloatArray
    ridge_q: FloatArray
    targets_m: IntArray
    weights_m: FloatArray
    offsets_m_C: FloatArray

    def solve(self, start_q_C: FloatArray | None, slope: float) -> FloatArray:
        shape = (len(self.ridge_q), self.offsets_m_C.shape[1])
        values_q_C = np.zeros(shape) if start_q_C is None else start_q_C
        loss, probs_m_C = self._at(values_q_C)
        for _ in range(_STEPS):
            gradient_q_C = self._gradient(values_q_C, probs_m_C)
            curvature = Curvature(self.design_m_q, probs_m_C, self.weights_m, self.ridge_q)
            if np.sqrt((gradient_q_C**2 / curvature.diagonal_q_C).max()) <= slope:
                break
            step_q_C = curvature.solve(-gradient_q_C[:, None], _ROUGH_STEP, _ITERATIONS)[:, 0]
            expected = float(np.vdot(gradient_q_C, step_q_C))
            for halvings in range(_HALVINGS):
                moved_q_C = values_q_C + 0.5**halvings * step_q_C
                moved_loss, moved_probs_m_C = self._at(moved_q_C)
                if moved_loss <= loss + 1e-4 * 0.5**halvings * expected:
                    break
            else:
                break  # rounding hides what a step could gain
            values_q_C, loss, probs_m_C = moved_q_C, moved_loss, moved_probs_m_C
        return values_q_C

    def _at(self, values_q_C: FloatArray) -> tuple[float, FloatArray]:
        """Return the loss and the probabilities (m, C)."""
        logits = self.design_m_q @ values_q_C
        logits += self.offsets_m_C
        logits -= logits.max(axis=1, keepdims=True)
        of_target_m = logits[np.arange(len(logits)), self.targets_m]
        probs_m_C = np.exp(logits, out=logits)
        total_m = probs_m_C.sum(axis=1)
        probs_m_C /= total_m[:, None]
        penalty = 0.5 * float(self.ridge_q @ np.square(values_q_C).sum(axis=1))
        return float(self.weights_m @ (np.log(total_m) - of_target_m)) + penalty, probs_m_C

    def _gradient(self, values_q_C: FloatArray, probs_m_C: FloatArray) -> FloatArray:
        errors_m_C = self.weights_m[:, None] * probs_m_C
        errors_m_C[np.arange(len(errors_m_C)), self.targets_m] -= self.weights_m
        gradient_q_C: FloatArray = self.design_m_q.T @ errors_m_C + self.ridge_q[:, None] * values_q_C
        return gradient_q_C
