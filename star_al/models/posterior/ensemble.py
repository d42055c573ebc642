"""LoRA ensembles (Wang et al. 2023, arXiv 2310.00035; Balabanov and Linander 2024, arXiv 2402.12264).

M adapters are trained on the same examples, each from its own start and in its own order. A sample is a
member, merged into the weights (methods, section 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from star_al.config.spec import AdapterSpec, EnsembleSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, load_adapter, number, writing
from star_al.models.backbone import Backbone
from star_al.models.batching import Batch
from star_al.models.lora import ADAPTER, lora_layers
from star_al.models.posterior import Score, Training
from star_al.models.posterior.merging import merged
from star_al.models.posterior.point import fit_point
from star_al.models.train import step_count
from star_al.rng import derive_seed
from star_al.types import JsonObject


class Ensemble:
    """Implements ``Method``: ``member-<i>`` in the artefact is an ordinary adapter, trained by a derived seed."""

    def __init__(self, spec: EnsembleSpec) -> None:
        self._spec = spec

    def steps(self, n_examples: int, adapter: AdapterSpec) -> int:
        """See ``Method.steps``."""
        return self._spec.members * step_count(n_examples, adapter)

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """See ``Method.fit``; a warm start gives each member the parent's member of its number."""
        decay = FunctionDecay(self._spec.function_decay) if self._spec.function_decay else None
        for member in range(self._spec.members):
            own = replace(
                training,
                seed=derive_seed(training.seed, member, "ensemble/member"),
                parent=None if training.parent is None else _place(training.parent, member),
            )
            with writing(folder):
                _place(folder, member).mkdir()
            fit_point(own, _place(folder, member), decay)
        return {"members": self._spec.members}

    def load(self, folder: Path, record: JsonObject) -> Members:
        """See ``Method.load``."""
        return Members(
            tuple(load_adapter(_place(folder, member)) for member in range(_count(folder, record)))
        )


def _place(folder: Path, member: int) -> Path:
    return folder / f"member-{member}"


def _count(folder: Path, record: JsonObject) -> int:
    return int(number(folder, record, "members", lambda count: count >= 1 and count.is_integer()))


class FunctionDecay:
    """Implements ``Addition``: γ·Σ_l ‖s·B_l·A_l‖_F², which keeps the members' functions near the base.

    Computed as s²·tr((BᵀB)(AAᵀ)), O((d_in + d_out)·r²); the product of width d × d is never formed.
    """

    reads_sequences = False

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma
        self._layers: list[tuple[Tensor, Tensor, float]] = []

    def attach(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """See ``Addition.attach``; there are no further parameters."""
        self._layers = [
            (layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, layer.scaling[ADAPTER])
            for layer in lora_layers(model).values()
        ]
        return ()

    def begin(self, batch: Batch) -> None:
        """See ``Addition.begin``; the penalty does not depend on the batch."""

    def penalty(self) -> Tensor:
        """See ``Addition.penalty``."""
        squares = [scale**2 * ((b.T @ b) * (a @ a.T)).sum() for a, b, scale in self._layers]
        return self._gamma * torch.stack(squares).sum()


@dataclass(frozen=True)
class Members:
    """The posterior: each member with the same weight, in their order."""

    members: tuple[LoraWeights, ...]
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; sample k is member k whatever the seed.

        The mean is that of the members' weights, W0 + 1/M Σ_m s·B_m·A_m. Their mean prediction would take a
        pass each.

        Raises:
            ModelError: there is no such member.
        """
        members = self.members if sample is None else self.members[sample : sample + 1]
        if not members:
            raise ModelError(
                f"the ensemble has {len(self.members)} members, so there is no sample {sample}, counted from 0. "
                "Ask for fewer samples, or start a campaign with more posterior.members."
            )

        def factors(name: str) -> tuple[Tensor, Tensor]:
            b = torch.cat([one.b[name] * (one.scale / len(members)) for one in members], dim=1)
            return b, torch.cat([one.a[name] for one in members])

        with merged(backbone.model, members[0].a, factors):
            yield score
