"""Conditional logit (McFadden 1974): options of a question compete by one weight vector over their features.

log p(o | q) = w·φ(q, o) + offset(q, o) − log Z(q). The penalty is α/2 ‖w‖². There are as many weights as features,
a few hundred, so the Hessian is factorised as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import log_softmax

from star_al.types import FloatArray, IntArray

_STEPS = 50  # of Newton's method, at most
_HALVINGS = 20  # of a step, at most
_GAIN = 1e-10  # what a step must promise, in nats


@dataclass(frozen=True)
class ConditionalLogit:
    """Questions with their right options, prepared for many fits.

    Attributes:
        features_n_C_r: Features of options; of options that a question does not have, anything finite.
        present_n_C: True where a question has an option.
        targets_n: The right options.
    """

    features_n_C_r: FloatArray
    present_n_C: NDArray[np.bool_]
    targets_n: IntArray

    def fit(
        self,
        strength: float,
        offsets_n_C: FloatArray,
        *,
        rows: IntArray | None = None,
        start: FloatArray | None = None,
    ) -> FloatArray:
        """Minimise the penalised negative log-likelihood by Newton's method.

        Args:
            strength: α of the penalty, above 0.
            offsets_n_C: Added to the logits.
            rows: Fit on these questions alone; None for all.
            start: Weights of a similar fit, to start from.

        Returns:
            Weights (r,).
        """
        part = self if rows is None else self._part(rows)
        offsets = offsets_n_C if rows is None else offsets_n_C[rows]
        weights_r = np.zeros(self.features_n_C_r.shape[2]) if start is None else start
        loss = part._loss(weights_r, strength, offsets)
        for _ in range(_STEPS):
            gradient_r = part._gradient(weights_r, strength, offsets)
            factor = cho_factor(part.precision(weights_r, strength, offsets), lower=True)
            step_r = -cho_solve(factor, gradient_r)
            expected = float(gradient_r @ step_r)
            if -expected <= _GAIN:
                break
            for halvings in range(_HALVINGS):
                moved_r = weights_r + 0.5**halvings * step_r
                moved_loss = part._loss(moved_r, strength, offsets)
                if moved_loss <= loss + 1e-4 * 0.5**halvings * expected:
                    break
            else:
                break  # rounding hides what a step could gain
            weights_r, loss = moved_r, moved_loss
        return weights_r

    def log_probs(self, weights_r: FloatArray, offsets_n_C: FloatArray) -> FloatArray:
        """Return log-probabilities (n, C), −inf where a question has no option."""
        logits_n_C = self.features_n_C_r @ weights_r + offsets_n_C
        found: FloatArray = log_softmax(np.where(self.present_n_C, logits_n_C, -np.inf), axis=1)
        return found

    def precision(self, weights_r: FloatArray, strength: float, offsets_n_C: FloatArray) -> FloatArray:
        """Return the Hessian of the loss, (r, r): the precision of the Laplace approximation."""
        probs_n_C = np.exp(self.log_probs(weights_r, offsets_n_C))
        mean_n_r = np.einsum("nc,ncr->nr", probs_n_C, self.features_n_C_r)
        spread = (self.features_n_C_r - mean_n_r[:, None]) * np.sqrt(probs_n_C)[:, :, None]
        flat = spread.reshape(-1, spread.shape[2])
        found: FloatArray = flat.T @ flat + strength * np.eye(flat.shape[1])
        return found

    def _part(self, rows: IntArray) -> ConditionalLogit:
        return ConditionalLogit(self.features_n_C_r[rows], self.present_n_C[rows], self.targets_n[rows])

    def _loss(self, weights_r: FloatArray, strength: float, offsets_n_C: FloatArray) -> float:
        log_probs_n_C = self.log_probs(weights_r, offsets_n_C)
        right_n = log_probs_n_C[np.arange(len(self.targets_n)), self.targets_n]
        return float(0.5 * strength * weights_r @ weights_r - right_n.sum())

    def _gradient(self, weights_r: FloatArray, strength: float, offsets_n_C: FloatArray) -> FloatArray:
        excess_n_C = np.exp(self.log_probs(weights_r, offsets_n_C))
        excess_n_C[np.arange(len(self.targets_n)), self.targets_n] -= 1
        gradient_r: FloatArray = (
            np.einsum("nc,ncr->r", excess_n_C, self.features_n_C_r) + strength * weights_r
        )
        return gradient_r
