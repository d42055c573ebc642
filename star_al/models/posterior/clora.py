"""C-LoRA (Rahmati et al. 2025, arXiv 2505.17773): a random matrix between A and B that depends on the text.

The matrix E is r × r. The training loss is NLL + w·KL. E is a latent variable of one text, so w = 1 is the
evidence lower bound; but the KL of thousands of entries may drown a few labels, so w is chosen on labels that
are held out of training. A sample's noise is shared by all texts and tokens, which makes it one function. E
depends on the text, so it cannot be merged into weights (docs/methods.md, "C-LoRA").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from star_al.config.spec import AdapterSpec, CLoraSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.adapter_record import record_choice
from star_al.models.backbone import Backbone
from star_al.models.devices import DTYPES
from star_al.models.lora import layer_named, require_fit
from star_al.models.minibatch import Minibatch
from star_al.models.posterior import Score, Training
from star_al.models.posterior.clora_training import ContextualTraining
from star_al.models.posterior.context_network import (
    Context,
    ContextNetwork,
    PromptPositions,
    apply_context,
    load_networks,
    save_networks,
)
from star_al.models.posterior.point import fit_point
from star_al.models.posterior.predictive import loss_steps, predictive_loss
from star_al.models.target_layers import dense_layers
from star_al.models.train import step_count
from star_al.rng import derive_seed, keyed_order
from star_al.types import JsonObject

CANDIDATES = (1e-2, 1e-3, 1e-4)
"""Weights w of the KL that are tried. With 48 labels on a 135 M model, 0.1 and 1 let the KL drown the labels."""

FALLBACK = 1e-3
"""w if too few labels can be held out to choose it."""

HELD_OUT = 0.2
"""Share of the labels that are held out to choose w."""

FEWEST_HELD_OUT = 8
"""With fewer held-out labels than this, w is not chosen."""


class CLora:
    """Implements ``Method``; chooses w, then trains on all examples with it."""

    def __init__(self, spec: CLoraSpec) -> None:
        self._spec = spec

    def steps(self, n_examples: int, adapter: AdapterSpec, n_taught: int = 0) -> int:
        """See ``Method.steps``; choosing w trains once for each candidate, on the examples that are not held out."""
        held_out, last = self._held_out(n_examples), step_count(n_examples, adapter, n_taught)
        if not held_out:
            return last
        trial = step_count(n_examples - held_out, adapter, n_taught)
        return last + len(CANDIDATES) * (trial + loss_steps(held_out, adapter.batch_size, len(self._draws)))

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """See ``Method.fit``; the record keeps w and, if it was chosen, the held-out NLL of each candidate."""
        tried = self._try_weights(training)
        if tried:
            weight = min(tried, key=lambda pair: pair[1])[0]
        else:
            weight = FALLBACK if self._spec.kl_weight == "auto" else self._spec.kl_weight
        self._fit(training, folder, weight)
        # JSON has no infinity: a candidate that diverged is recorded without an NLL.
        table = [{"kl_weight": w, "nll": nll if math.isfinite(nll) else None} for w, nll in tried]
        return {"context": self._spec.context, "kl_weight": weight, "held_out": table}

    def quick(self) -> CLora:
        """See ``Method.quick``; w is not chosen."""
        return CLora(self._spec.model_copy(update={"kl_weight": FALLBACK}))

    def load(self, folder: Path, record: JsonObject) -> ContextualAdapter:
        """See ``Method.load``."""
        contexts: tuple[Context, ...] = ("sequence", "token")
        context = record_choice(folder, record, "context", contexts)
        weights = load_adapter(folder)
        return ContextualAdapter(weights, load_networks(folder, weights), context)

    def _held_out(self, n: int) -> int:
        """Return how many of n examples are held out to choose w; 0 if it is fixed or they would be too few."""
        count = round(HELD_OUT * n)
        return count if self._spec.kl_weight == "auto" and count >= FEWEST_HELD_OUT else 0

    def _try_weights(self, training: Training) -> list[tuple[float, float]]:
        """Train with each candidate on part of the examples, and measure it on the others.

        Returns:
            Pairs of w and the NLL in nats on held-out examples, infinite for a candidate that diverged. Empty
            if w is not to be chosen.

        Raises:
            ModelError: All candidates diverged.
        """
        count = self._held_out(len(training.examples))
        if not count:
            return []
        seed = derive_seed(training.seed, 0, "clora/held-out")
        shuffled = sorted(training.examples, key=lambda pair: keyed_order(seed, pair[0].item_id))
        # The parent of a warm start may have been trained on the held-out examples, so candidates start
        # afresh.
        part = replace(training, examples=shuffled[count:], parent=None)
        held_out = replace(training, examples=shuffled[:count])
        tried, failure = [], None
        for weight in CANDIDATES:
            try:
                nll = self._held_out_loss(part, held_out, weight)
            except ModelError as exc:
                # Without its traceback, which would keep the activations alive.
                nll, failure = math.inf, exc.with_traceback(None)
            tried.append((weight, nll if math.isfinite(nll) else math.inf))
        if all(math.isinf(nll) for _, nll in tried):
            raise failure or ModelError(
                "C-LoRA's predictions on held-out labels are NaN with every posterior.kl_weight that was tried. "
                "Lower posterior.learning_rate; only a new campaign may set model.dtype: float32."
            )
        return tried

    def _held_out_loss(self, part: Training, held_out: Training, weight: float) -> float:
        with TemporaryDirectory() as name:
            self._fit(part, Path(name), weight)
            posterior = self.load(Path(name), {"context": self._spec.context})
        return predictive_loss(held_out, posterior, self._draws)

    @property
    def _draws(self) -> list[int | None]:
        """The samples that the held-out loss is measured with."""
        return list(range(self._spec.samples)) if self._spec.samples > 1 else [None]

    def _fit(self, training: Training, folder: Path, weight: float) -> None:
        parent = training.parent
        start = {} if parent is None else load_networks(parent, load_adapter(parent))
        extension = ContextualTraining(self._spec, weight, training.seed, start)
        fit_point(training, folder, extension)
        save_networks(folder, extension.networks)


@dataclass(frozen=True)
class ContextualAdapter:
    """The posterior of one adapter with its context networks.

    Attributes:
        weights: A and B.
        networks: Context networks by layer.
        context: What E depends on.
        shares_prefix: See ``Posterior``. False, because the context of a sequence is a mean over its whole
            prompt.
    """

    weights: LoraWeights
    networks: Mapping[str, ContextNetwork]
    context: Context
    shares_prefix: bool = False

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; the mean is E = μ, the paper's M = 0."""
        modules = dense_layers(backbone.model)
        branches = [
            _SampledBranch(self, name, layer_named(name, modules), backbone, seed, sample)
            for name in self.networks
        ]

        def scored(batch: Minibatch) -> Tensor:
            positions = PromptPositions.of(batch)
            for branch in branches:
                branch.positions = positions
            return score(batch)

        handles = [modules[branch.name].register_forward_hook(branch) for branch in branches]
        try:
            yield scored
        finally:
            for handle in handles:
                handle.remove()


class _SampledBranch:
    """A forward hook that adds s·B·E·A·x of one sample to a dense layer's output."""

    positions: PromptPositions

    def __init__(
        self,
        adapter: ContextualAdapter,
        name: str,
        module: Any,
        backbone: Backbone,
        seed: int,
        sample: int | None,
    ) -> None:
        a, b = adapter.weights.a[name], adapter.weights.b[name] * adapter.weights.scale
        require_fit(name, module, b, a)
        dtype, device = DTYPES[backbone.dtype], module.weight.device
        self.name, self._context = name, adapter.context
        self._a, self._b = a.to(device, dtype), b.to(device, dtype)
        self._network = adapter.networks[name].to(device)
        self._noise = None if sample is None else noise_r_r(len(a), name, seed, sample).to(device)

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (x,) = args
        self.positions.check(self.name, x)
        z_R_S_r = nn.functional.linear(x, self._a)
        positions = self.positions.on(x.device)
        ez_R_S_r, _, _ = apply_context(z_R_S_r, self._network, self._noise, positions, self._context)
        return output + nn.functional.linear(ez_R_S_r, self._b)


def noise_r_r(rank: int, name: str, seed: int, sample: int) -> Tensor:
    """Draw the standard normal noise ε of a layer in a sample, (r, r), for all texts and tokens."""
    generator = torch.Generator().manual_seed(derive_seed(seed, sample, f"clora/{name}"))
    return torch.randn(rank, rank, generator=generator)
