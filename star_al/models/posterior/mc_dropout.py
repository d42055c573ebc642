"""MC dropout (Gal and Ghahramani 2016) on A's input features, as coherent weight samples.

A mask m_k over the input features of each adapted layer, fixed for sample k, makes A_k = A·diag(m_k)/(1−p)
and W_k = W0 + s·B·A_k: an ordinary dense layer, so that a scoring pass costs what the base model costs
(methods, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.lora import adaptable_modules
from star_al.rng import derive_seed


@dataclass(frozen=True)
class McDropout:
    """The posterior of one adapter; ``dropout`` is p, the share of features a sample leaves out."""

    weights: LoraWeights
    dropout: float
    samples: int

    @contextmanager
    def draw(self, model: Any, seed: int, sample: int | None) -> Iterator[None]:
        """Merge one sample (null: no mask) into the layers of ``model``; put their own weights back after.

        Raises:
            ModelError: the adapter's layers are not those of the model.
        """
        modules = adaptable_modules(model)
        pristine: dict[str, Tensor] = {}
        try:
            for name in self.weights.a:
                if name not in modules:
                    raise ModelError(
                        f"the adapter's layer {name} is not in the model. Give the model it was trained on."
                    )
                layer: Any = modules[name]
                pristine[name] = layer.weight.data
                layer.weight.data = self._merged(name, layer, self._mask(name, seed, sample))
            yield
        finally:
            for name, weight in pristine.items():
                modules[name].weight.data = weight

    def _mask(self, name: str, seed: int, sample: int | None) -> Tensor | None:
        """1/(1−p) for kept features and 0 for others, (d_in,)."""
        if sample is None:
            return None
        return keep_mask(self.weights.a[name].shape[1], self.dropout, name, seed, sample) / (1 - self.dropout)

    @torch.no_grad()
    def _merged(self, name: str, layer: Any, mask: Tensor | None) -> Tensor:
        weight: Tensor = layer.weight.data
        a, b = self.weights.a[name], self.weights.b[name]
        a, b = (a if mask is None else a * mask).to(weight.device), b.to(weight.device)
        shape = (weight.shape[1], weight.shape[0]) if isinstance(layer, Conv1D) else tuple(weight.shape)
        if (b.shape[0], a.shape[1]) != shape or a.shape[0] != b.shape[1]:
            raise ModelError(
                f"the adapter's layer {name} has another size. Give the model it was trained on."
            )
        delta = (a.T @ b.T if isinstance(layer, Conv1D) else b @ a) * self.weights.scale
        return (weight.float() + delta).to(weight.dtype)


def keep_mask(d_in: int, p: float, name: str, seed: int, sample: int) -> Tensor:
    """The features that layer ``name`` keeps in a sample, (d_in,) of 0 and 1, each kept with 1 − p."""
    generator = torch.Generator().manual_seed(derive_seed(seed, sample, f"mc-dropout/{name}"))
    return (torch.rand(d_in, generator=generator) >= p).float()
