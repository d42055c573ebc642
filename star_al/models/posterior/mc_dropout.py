"""MC dropout (Gal and Ghahramani 2016) on A's input features, as coherent weight samples.

A mask m_k over the input features of each adapted layer, fixed for sample k, makes A_k = A·diag(m_k)/(1−p)
and W_k = W0 + s·B·A_k: an ordinary dense layer, so that a scoring pass costs what the base model costs
(methods, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from star_al.models.adapter_file import LoraWeights, load_adapter, number
from star_al.models.backbone import Backbone
from star_al.models.posterior import Score, Training
from star_al.models.posterior.merging import merged
from star_al.models.posterior.point import PostHoc
from star_al.rng import derive_seed
from star_al.types import JsonObject


class McDropout(PostHoc):
    """Training is ordinary, with dropout; the record keeps its rate."""

    def refine(self, training: Training, folder: Path) -> JsonObject:
        """See ``PostHoc.refine``."""
        return {"dropout": training.adapter.dropout}

    def load(self, folder: Path, record: JsonObject) -> MaskedAdapter:
        """See ``Method.load``."""
        return MaskedAdapter(load_adapter(folder), number(folder, record, "dropout", lambda p: 0 <= p < 1))


@dataclass(frozen=True)
class MaskedAdapter:
    """The posterior of one adapter; ``dropout`` is p, the share of features a sample leaves out."""

    weights: LoraWeights
    dropout: float
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; the mean is the adapter without a mask."""

        def factors(name: str) -> tuple[Tensor, Tensor]:
            a, b = self.weights.a[name], self.weights.b[name] * self.weights.scale
            if sample is None:
                return b, a
            kept = keep_mask(a.shape[1], self.dropout, name, seed, sample)
            return b, a * (kept / (1 - self.dropout))

        with merged(backbone.model, self.weights.a, factors):
            yield score


def keep_mask(d_in: int, p: float, name: str, seed: int, sample: int) -> Tensor:
    """The features that layer ``name`` keeps in a sample, (d_in,) of 0 and 1, each kept with 1 − p."""
    generator = torch.Generator().manual_seed(derive_seed(seed, sample, f"mc-dropout/{name}"))
    return (torch.rand(d_in, generator=generator) >= p).float()
