"""Training of C-LoRA: E between A and B in peft's layers, its KL, and SGD on the context networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from star_al.config.spec import CLoraSpec
from star_al.errors import ModelError
from star_al.models.batching import Batch
from star_al.models.lora import ADAPTER, lora_layers
from star_al.models.posterior.context_network import ContextNetwork, Places, contextual, divergence
from star_al.rng import derive_seed

LONGEST_GRADIENT = 1.0


class ContextualTraining:
    """Implements ``Addition``: E within peft's layers, its KL, and SGD on the context networks.

    E's noise is drawn once a prompt. ``start`` are a parent's networks; empty: fresh ones.
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
        """See ``Addition.attach``: replaces the layers' own LoRA branch by ours."""
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

    def begin(self, batch: Batch) -> None:
        """See ``Addition.begin``: where the prompts are, and their noise."""
        self.places = Places.of(batch)
        for name, network in self.networks.items():
            shape = (len(batch.exists_B_C), network.rank, network.rank)
            noise = torch.randn(shape, generator=self._generator)
            self._noise_B_r_r[name] = noise.to(batch.ids_R_S.device)
        self._kl_B = {}

    def branch(self, name: str, z_R_S_r: Tensor) -> Tensor:
        """E z of a layer; keeps the layer's KL."""
        context = self._spec.context
        network, noise = self.networks[name], self._noise_B_r_r[name]
        ez_R_S_r, mu, sigma = contextual(z_R_S_r, network, noise, self.places, context)
        kl = divergence(mu, sigma, self._spec.prior_std)
        self._kl_B[name] = kl if context == "sequence" else self.places.mean_B(kl)
        return ez_R_S_r

    def penalty(self) -> Tensor:
        """See ``Addition.penalty``: w times the mean over prompts of the KL, summed over layers.

        The KL of a prompt with a context at each token is the mean over its tokens.
        """
        return self._weight * torch.stack(list(self._kl_B.values())).sum(dim=0).mean()


def _clip_each(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Clip the gradient of each network, which is one group, to ``LONGEST_GRADIENT``.

    Clipped together they would stand still under the KL of thousands of entries; not at all, they would jump.
    """
    for group in optimiser.param_groups:
        nn.utils.clip_grad_norm_(group["params"], LONGEST_GRADIENT)


class _Branch:
    """Stands in peft's table of LoRA variants, of which a layer calls ``forward`` alone in training."""

    def __init__(self, training: ContextualTraining, name: str) -> None:
        self._training, self._name = training, name

    def forward(self, layer: Any, *, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        """W0 x, which is ``result``, + s·B·E·A x."""
        self._training.places.check(self._name, x)
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
