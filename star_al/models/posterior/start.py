"""The adapter from which a training started, before it had seen a label: A₀ at random, B₀ = 0."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from star_al.config.spec import AdapterSpec
from star_al.models.backbone import Backbone
from star_al.models.bare_base import left_as_it_was
from star_al.models.lora import ADAPTER, attached, lora_layers
from star_al.models.train import reproducible


@torch.no_grad()
def starting_a(backbone: Backbone, spec: AdapterSpec, seed: int) -> Mapping[str, Tensor]:
    """Return A₀ (r, d_in) by layer, float32 on the CPU, of every training with this seed and no parent.

    It is drawn again, as ``train`` draws it, so that it need not be stored.
    """
    with left_as_it_was(backbone.model), reproducible(seed), attached(backbone.model, spec) as model:
        return {
            name: layer.lora_A[ADAPTER].weight.cpu().clone() for name, layer in lora_layers(model).items()
        }
