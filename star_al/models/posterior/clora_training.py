"""Training of C-LoRA: E between A and B in peft's layers, its KL, and SGD on the context networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from star_al.config.spec import CLoraSpec
from star_al.errors import ModelError
from star_al.models.lora import ADAPTER, lora_layers
from star_al.models.minibatch import Minibatch
from star_al.models.posterior.context_network import (
    ContextNetwork,
    PromptPositions,
    apply_context,
    divergence,
)
from star_al.rng import derive_seed

LONGEST_GRADIENT = 1.0
"""Norm that the gradient of each context network is clipped to."""


class ContextualTraining:
    """Trains A, B and the context networks together; implements ``TrainingExtension``.

    The noise of E is drawn once for each prompt of a minibatch.

    Args:
        spec: Settings of C-LoRA.
        weight: w, the weight of the KL.
        seed: Seed of the noise.
        start: Context networks to start from, by layer; empty for fresh ones.
    """

    reads_sequences = True

    def __init__(
        self, spec: CLoraSpec, weight: float, seed: int, start: Mapping[str, ContextNetwork]
    ) -> None:
        self._spec, self._weight, self._start = spec, weight, start
        self._generator = torch.Generator().manual_seed(derive_seed(seed, 0, "clora/noise"))
        self._noise_B_r_r: dict[str, Tensor] = {}
        self._kl_B: dict[str, Tensor] = {}
        self.networks: dict[str, ContextNetwork] = {}

    def attach(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """See ``TrainingExtension.attach``; the layers' LoRA branch is replaced by ours."""
        for name, layer in lora_layers(model).items():
            rank = layer.r[ADAPTER]
            network = ContextNetwork(rank, self._spec.hidden, self._spec.prior_std)
            if self._start:
                _continue(network, self._start[name], name)
            self.networks[name] = network.to(layer.lora_A[ADAPTER].weight.device)
            layer.lora_variant[ADAPTER] = _Branch(self, name)
        groups = [{"params": list(network.parameters())} for network in self.networks.values()]
        sgd = torch.optim.SGD(groups, lr=self._spec.learning_rate)
        sgd.register_step_pre_hook(_clip_each)
        return [sgd]

    def before_forward(self, batch: Minibatch) -> None:
        """See ``TrainingExtension.before_forward``; finds the prompts and draws their noise."""
        self.positions = PromptPositions.of(batch)
        for name, network in self.networks.items():
            shape = (len(batch.exists_B_C), network.rank, network.rank)
            noise = torch.randn(shape, generator=self._generator)
            self._noise_B_r_r[name] = noise.to(network.inner.weight.device)
        self._kl_B = {}

    def branch(self, name: str, z_R_S_r: Tensor) -> Tensor:
        """Return E z of a layer, (R, S, r), and keep the layer's KL for ``penalty``."""
        context = self._spec.context
        network, noise = self.networks[name], self._noise_B_r_r[name]
        positions = self.positions.on(z_R_S_r.device)
        ez_R_S_r, mu, sigma = apply_context(z_R_S_r, network, noise, positions, context)
        kl = divergence(mu, sigma, self._spec.prior_std)
        # With a context at each token, the KL of a prompt is the mean over its tokens: a sum would grow with
        # its length.
        self._kl_B[name] = kl if context == "sequence" else positions.mean_B(kl)
        return ez_R_S_r

    def penalty(self) -> Tensor:
        """See ``TrainingExtension.penalty``: w times the mean over prompts of the KL, summed over layers."""
        home = self.positions.lengths_B.device
        return self._weight * torch.stack([kl.to(home) for kl in self._kl_B.values()]).sum(dim=0).mean()


def _clip_each(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Clip the gradient of each network, which is one parameter group, to ``LONGEST_GRADIENT``.

    The KL of thousands of entries makes gradients large: unclipped, steps would be too long, and clipped
    together, those of each network too short.
    """
    for group in optimiser.param_groups:
        nn.utils.clip_grad_norm_(group["params"], LONGEST_GRADIENT)


class _Branch:
    """A LoRA variant in peft's sense, of which a layer calls only ``forward`` in training."""

    def __init__(self, training: ContextualTraining, name: str) -> None:
        self._training, self._name = training, name

    def forward(self, layer: Any, *, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        """Add s·B·E·A·x to ``result``, which is W₀x."""
        self._training.positions.check(self._name, x)
        a, b = layer.lora_A[active_adapter], layer.lora_B[active_adapter]
        z_R_S_r = a(layer.lora_dropout[active_adapter](x))
        delta: Tensor = b(self._training.branch(self._name, z_R_S_r)) * layer.scaling[active_adapter]
        return result + delta


def _continue(network: ContextNetwork, parent: ContextNetwork, name: str) -> None:
    try:
        network.load_state_dict(parent.state_dict())
    except RuntimeError as exc:
        raise ModelError(
            f"warm start: the last context network of layer {name} has another size. "
            "Set adapter.warm_start: false."
        ) from exc
