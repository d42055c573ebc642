"""A linear probe: a classifier that is fitted to a frozen language model's last hidden states.

First a linear probe, then fine-tuning below it (LP-FT, Kumar et al. 2022, arXiv 2202.10054; for LoRA, arXiv
2405.16747). Fitted on texts that another model labelled, a probe gives the language model in a second what would
otherwise take hundreds of training steps (docs/studies/recipe.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from star_al.errors import ModelError
from star_al.models.classifier import Classifier
from star_al.types import Float32Array, FloatArray, IntArray

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Strengths of the penalty that are tried."""

UNKNOWN = 10.0
"""The strength where too few texts were answered to choose one."""

FOLDS = 3

_STEPS = 100
_LOWEST_SPREAD = 1e-6


@dataclass(frozen=True)
class ProbeTexts:
    """What a classifier is fitted on.

    Attributes:
        hidden_N_d: The frozen model's last hidden states at the ends of the prompts; if the classifier shall read the
            text too, after the mean state of its tokens.
        shares_N_C: The labels as distributions; those that people gave are 1 at one label.
        weights_N: What each text counts.
        answered: How many of the texts, the first ones, people answered.
        reads_text: As ``Classifier.reads_text``.
    """

    hidden_N_d: Float32Array
    shares_N_C: FloatArray
    weights_N: FloatArray
    answered: int
    reads_text: bool = False


def fit_probe(texts: ProbeTexts, seed: int) -> Classifier:
    """Fit a classifier to frozen states by penalised likelihood.

    It minimises the weighted sum of −Σ_c q_c log p(c | h), plus strength · ‖V‖² for the weights V of standardised
    states. The strength is the one of ``STRENGTHS`` that predicts best, in cross-validation, what people answered;
    texts that another model labelled belong to every fold.

    Args:
        texts: The N texts.
        seed: Determines the folds.

    Raises:
        ModelError: A state is not finite.
    """
    if not np.isfinite(texts.hidden_N_d).all():
        raise ModelError(
            "a hidden state of the language model is NaN or infinite. Check the model's weights; "
            "a new campaign may try model.dtype: float32."
        )
    mean_d = texts.hidden_N_d.mean(axis=0, dtype=np.float64)
    spread_d = np.maximum(texts.hidden_N_d.std(axis=0, dtype=np.float64), _LOWEST_SPREAD)
    problem = _Problem(
        torch.from_numpy(((texts.hidden_N_d - mean_d) / spread_d).astype(np.float32)),
        torch.from_numpy(texts.shares_N_C.astype(np.float32)),
        torch.from_numpy(texts.weights_N.astype(np.float32)),
    )
    scaled = problem.fit(problem.best_strength(texts.answered, seed))
    weight_C_d = scaled.weight_C_d / torch.from_numpy(spread_d.astype(np.float32))
    bias_C = scaled.bias_C - weight_C_d @ torch.from_numpy(mean_d.astype(np.float32))
    return Classifier(weight_C_d, bias_C, texts.reads_text)


@dataclass(frozen=True)
class _Problem:
    """Multinomial logistic regression on standardised states."""

    states_N_d: Tensor
    shares_N_C: Tensor
    weights_N: Tensor

    def best_strength(self, answered: int, seed: int) -> float:
        """Return the strength that predicts the answered texts best."""
        if answered < 2 * FOLDS:
            return UNKNOWN
        loss_S = np.zeros(len(STRENGTHS))
        order = np.random.default_rng(seed).permutation(answered)
        for held_out_M in np.array_split(order, FOLDS):
            kept_N = np.setdiff1d(np.arange(len(self.states_N_d)), held_out_M)
            training, test = self._of(kept_N), self._of(held_out_M)
            loss_S += [test.loss(training.fit(strength)).item() for strength in STRENGTHS]
        return STRENGTHS[int(loss_S.argmin())]

    def _of(self, rows_M: IntArray) -> _Problem:
        return _Problem(self.states_N_d[rows_M], self.shares_N_C[rows_M], self.weights_N[rows_M])

    def loss(self, classifier: Classifier) -> Tensor:
        """Return the weighted sum of −Σ_c q_c log p(c | h)."""
        log_probs_N_C = classifier.logits(self.states_N_d, slice(None)).log_softmax(dim=1)
        return -(self.weights_N * (self.shares_N_C * log_probs_N_C).sum(dim=1)).sum()

    def fit(self, strength: float) -> Classifier:
        """Minimise the penalised loss from 0 on."""
        n_labels, size = self.shares_N_C.shape[1], self.states_N_d.shape[1]
        weight_C_d = torch.zeros(n_labels, size, requires_grad=True)
        bias_C = torch.zeros(n_labels, requires_grad=True)
        optimiser = torch.optim.LBFGS(
            [weight_C_d, bias_C], max_iter=_STEPS, history_size=10, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            optimiser.zero_grad()
            total = self.loss(Classifier(weight_C_d, bias_C)) + strength * (weight_C_d**2).sum()
            mean = total / self.weights_N.sum()
            mean.backward()
            return mean.item()

        with torch.enable_grad():
            optimiser.step(closure)
        return Classifier(weight_C_d.detach(), bias_C.detach())
