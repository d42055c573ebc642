"""MC dropout (Gal and Ghahramani 2016, arXiv 1506.02142) on the input features of A, as coherent weight samples.

A mask m_k over the input features of each adapted layer, fixed for sample k, makes A_k = A·diag(m_k)/(1 − p)
and W_k = W₀ + s·B·A_k, which is an ordinary dense layer (docs/methods.md, "MC dropout").
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from star_al.config.spec import McDropoutSpec
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.adapter_record import record_number
from star_al.models.backbone import Backbone
from star_al.models.posterior import Factors, Score, Training
from star_al.models.posterior.merging import merged
from star_al.models.posterior.point import PostHoc
from star_al.rng import derive_seed
from star_al.types import JsonObject


class McDropout(PostHoc):
    """Ordinary training with dropout. The record keeps the rate of the samples, which may be another one."""

    def __init__(self, spec: McDropoutSpec) -> None:
        self._spec = spec

    def refine(self, training: Training, folder: Path) -> JsonObject:
        """See ``PostHoc.refine``."""
        own = self._spec.dropout
        return {"dropout": training.adapter.dropout if own is None else own}

    def load(self, folder: Path, record: JsonObject) -> MaskedAdapter:
        """See ``Method.load``."""
        dropout = record_number(folder, record, "dropout", lambda p: 0 <= p < 1)
        return MaskedAdapter(load_adapter(folder), dropout)


@dataclass(frozen=True)
class MaskedAdapter:
    """The posterior of one adapter.

    Attributes:
        weights: The adapter.
        dropout: p, the share of input features that a sample leaves out.
        shares_prefix: See ``Posterior``.
    """

    weights: LoraWeights
    dropout: float
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; the mean is the adapter without a mask."""
        with merged(backbone.model, self.layers, self.factors(seed, sample)):
            yield score

    @property
    def layers(self) -> Collection[str]:
        """See ``LowRankPosterior``."""
        return self.weights.a.keys()

    def factors(self, seed: int, sample: int | None) -> Factors:
        """See ``LowRankPosterior``."""

        def factors(name: str) -> tuple[Tensor, Tensor]:
            a, b = self.weights.a[name], self.weights.b[name] * self.weights.scale
            if sample is None:
                return b, a
            kept = keep_mask(a.shape[1], self.dropout, name, seed, sample)
            # Scaled up, so that the mean over masks is the adapter without a mask.
            return b, a * (kept / (1 - self.dropout))

        return factors


def keep_mask(d_in: int, p: float, name: str, seed: int, sample: int) -> Tensor:
    """Draw which input features of a layer a sample keeps.

    Args:
        d_in: Number of input features.
        p: Probability of leaving a feature out.
        name: The layer, which makes its mask differ from those of other layers.
        seed: Seed of all samples.
        sample: Number of the sample.

    Returns:
        Zeros and ones (d_in,).
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, sample, f"mc-dropout/{name}"))
    return (torch.rand(d_in, generator=generator) >= p).float()
