"""TFB (Shi et al. 2025, arXiv 2412.05723): make an adapter Bayesian without training.

With the compact SVD B = U·diag(d)·Vᵀ, noise of standard deviation σ_q/d_i on row i of VᵀA moves B·A by
σ_q·U·E with E standard normal: isotropic noise in the column space of B. It is drawn in that form, which does
not divide by a d_i near zero. σ_q is the largest with which at most a share of texts get another label, or with which
the training loss rises by at most a share (docs/methods.md, "TFB").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from star_al.config.spec import AdapterSpec, TfbSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.adapter_record import record_number
from star_al.models.backbone import Backbone
from star_al.models.posterior import Factors, Score, Training
from star_al.models.posterior.merging import merged
from star_al.models.posterior.point import PostHoc
from star_al.models.posterior.predictive import (
    likeliest_tokens,
    loss_steps,
    predicted_columns,
    predictive_loss,
)
from star_al.rng import derive_seed
from star_al.types import JsonObject

SMALLEST, LARGEST = 1e-4, 1.0
"""Between these σ_q is searched."""

_HALVINGS = 7  # of the range of log σ_q, which finds σ_q to a factor of 1.08
_SAMPLES = 4  # that the loss is measured with, with the same noise at each σ_q


class Tfb(PostHoc):
    """The record keeps σ_q, and what the noise changes: the share of other labels, or the training loss."""

    def __init__(self, spec: TfbSpec, halvings: int | None = None, samples: int | None = None) -> None:
        self._spec, self._halvings = spec, halvings or _HALVINGS
        self._samples = samples or (_SAMPLES if spec.rule == "loss" else spec.samples)

    def refining_steps(self, n_examples: int, adapter: AdapterSpec) -> int:
        """See ``PostHoc.refining_steps``."""
        # Without a pool, the examples stand in for its texts.
        texts = n_examples if self._spec.rule == "loss" else max(n_examples, self._spec.texts)
        return loss_steps(texts, adapter.batch_size, 1 + self._halvings * self._samples)

    def refine(self, training: Training, folder: Path) -> JsonObject:
        """See ``PostHoc.refine``."""
        weights, bases = _decomposed(folder)

        def noisy(sigma: float) -> NoisyAdapter:
            return NoisyAdapter(weights, bases, sigma)

        if self._spec.rule == "loss":
            return self._by_loss(training, noisy)
        return self._by_tokens(training, noisy) if training.writes else self._by_predictions(training, noisy)

    def _by_predictions(self, training: Training, noisy: Callable[[float], NoisyAdapter]) -> JsonObject:
        """Search by the share of texts whose label the noise changes; no label is looked at."""
        prompts = training.unlabelled(self._spec.texts) or [prompt for prompt, _ in training.examples]
        plain_N = predicted_columns(training, prompts, noisy(0.0), [None])
        _require_numbers(plain_N)

        @cache  # the search has measured the share of the σ_q that it finds
        def changed(sigma: float) -> float:
            if not sigma:
                return 0.0
            columns_N = predicted_columns(training, prompts, noisy(sigma), range(self._samples))
            return float((columns_N != plain_N).double().mean())

        sigma = largest_within(changed, self._spec.tolerance, self._halvings)
        return {"sigma": sigma, "changed": changed(sigma), "texts": len(prompts)}

    def _by_tokens(self, training: Training, noisy: Callable[[float], NoisyAdapter]) -> JsonObject:
        """Search by the share of tokens along the examples' answers whose likeliest one a sample's noise changes."""
        plain_T = likeliest_tokens(training, noisy(0.0), None)
        _require_numbers(plain_T)

        @cache
        def changed(sigma: float) -> float:
            if not sigma:
                return 0.0
            samples = (likeliest_tokens(training, noisy(sigma), sample) for sample in range(self._samples))
            return sum(float((tokens_T != plain_T).double().mean()) for tokens_T in samples) / self._samples

        sigma = largest_within(changed, self._spec.tolerance, self._halvings)
        return {"sigma": sigma, "changed": changed(sigma), "tokens": len(plain_T)}

    def _by_loss(self, training: Training, noisy: Callable[[float], NoisyAdapter]) -> JsonObject:
        """Search by the rise of the training loss."""

        @cache
        def loss(sigma: float) -> float:
            return predictive_loss(training, noisy(sigma), range(self._samples) if sigma else [None])

        start = loss(0.0)
        if not math.isfinite(start):
            raise ModelError(
                f"the loss of the trained adapter on its own examples is {start:g}, so that TFB cannot measure "
                "how much noise it bears. Lower adapter.learning_rate; only a new campaign may set "
                "model.dtype: float32."
            )
        sigma = largest_within(loss, start * (1 + self._spec.tolerance), self._halvings)
        return {"sigma": sigma, "loss": start, "noisy_loss": loss(sigma)}

    def quick(self) -> Tfb:
        """See ``Method.quick``; σ_q is not searched to any precision."""
        return Tfb(self._spec, halvings=1, samples=1)

    def load(self, folder: Path, record: JsonObject) -> NoisyAdapter:
        """See ``Method.load``."""
        sigma = record_number(folder, record, "sigma", lambda sigma: sigma >= 0)
        return NoisyAdapter(*_decomposed(folder), sigma)


def _require_numbers(predicted_N: Tensor) -> None:
    """Refuse an adapter whose answers are NaN.

    Raises:
        ModelError: Some are.
    """
    if (predicted_N < 0).any():
        raise ModelError(
            "the trained adapter answers NaN, so that TFB cannot measure how much noise it bears. Lower "
            "adapter.learning_rate; only a new campaign may set model.dtype: float32."
        )


def _decomposed(folder: Path) -> tuple[LoraWeights, Mapping[str, Tensor]]:
    weights = load_adapter(folder)
    return weights, {name: column_space(b) for name, b in weights.b.items()}


def column_space(b: Tensor) -> Tensor:
    """Return U of the compact SVD of B, (d_out, rank of B)."""
    u: Tensor
    u, d, _ = torch.linalg.svd(b, full_matrices=False)
    limit = d.max() * max(b.shape) * torch.finfo(b.dtype).eps  # as in torch.linalg.matrix_rank
    return u[:, d > limit]


def largest_within(cost: Callable[[float], float], limit: float, halvings: int = _HALVINGS) -> float:
    """Find the largest σ_q whose cost is at most ``limit``, by bisection of its logarithm.

    Returns:
        σ_q; 0 if the cost exceeds the limit for every one that was tried.
    """
    found, low, high = 0.0, math.log(SMALLEST), math.log(LARGEST)
    for _ in range(halvings):
        middle = (low + high) / 2
        if cost(math.exp(middle)) <= limit:
            found, low = math.exp(middle), middle
        else:
            high = middle
    return found


@dataclass(frozen=True)
class NoisyAdapter:
    """The posterior W = W₀ + s·(B·A + σ_q·U·E), with E (rank of B, d_in) standard normal.

    Attributes:
        weights: A and B.
        bases: U by layer.
        sigma: σ_q.
        shares_prefix: See ``Posterior``.
    """

    weights: LoraWeights
    bases: Mapping[str, Tensor]
    sigma: float
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; the mean is the adapter without noise."""
        with merged(backbone.model, self.layers, self.factors(seed, sample)):
            yield score

    @property
    def layers(self) -> Collection[str]:
        """See ``LowRankPosterior``."""
        return self.weights.a.keys()

    def factors(self, seed: int, sample: int | None) -> Factors:
        """See ``LowRankPosterior``."""

        def factors(name: str) -> tuple[Tensor, Tensor]:
            a, b, u = self.weights.a[name], self.weights.b[name], self.bases[name]
            if sample is None:
                return b * self.weights.scale, a
            generator = torch.Generator().manual_seed(derive_seed(seed, sample, f"tfb/{name}"))
            # B·A + U·(σ_q·E) is one product of the factors side by side.
            noise = self.sigma * torch.randn(u.shape[1], a.shape[1], generator=generator)
            return torch.cat([b, u], dim=1) * self.weights.scale, torch.cat([a, noise])

        return factors
