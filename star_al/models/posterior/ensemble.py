"""LoRA ensembles (Wang et al. 2023, arXiv 2310.00035; Balabanov and Linander 2024, arXiv 2402.12264).

M adapters are trained on the same examples, each with its own initialisation and order. A sample is a member,
merged into the weights (docs/methods.md, "Ensemble").
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from star_al.config.spec import AdapterSpec, EnsembleSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.adapter_record import record_number
from star_al.models.artefact_files import translate_write_errors
from star_al.models.backbone import Backbone
from star_al.models.lora import ADAPTER, lora_layers
from star_al.models.minibatch import Minibatch
from star_al.models.posterior import Factors, Score, Training
from star_al.models.posterior.merging import merged
from star_al.models.posterior.point import fit_point
from star_al.models.train import step_count
from star_al.rng import derive_seed
from star_al.types import JsonObject


class Ensemble:
    """Implements ``Method``: ``member-<i>`` in the artefact is an ordinary adapter, trained with a derived seed."""

    def __init__(self, spec: EnsembleSpec) -> None:
        self._spec = spec

    def steps(self, n_examples: int, adapter: AdapterSpec, n_taught: int = 0) -> int:
        """See ``Method.steps``."""
        return self._spec.members * step_count(n_examples, adapter, n_taught)

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """See ``Method.fit``; in a warm start, each member starts from the parent's member of the same number."""
        found = None if training.members is None else training.members(self._spec.members)
        for member in range(self._spec.members):
            place = _member_folder(folder, member)
            with translate_write_errors(folder):
                place.mkdir()
                for name, content in ({} if found is None else next(found)).items():
                    (place / name).write_bytes(content)
            if found is None:
                self.fit_member(training, member, place)
        return {"members": self._spec.members}

    def fit_member(self, training: Training, member: int, place: Path) -> None:
        """Train one member, and write it into an empty folder."""
        decay = FunctionDecay(self._spec.function_decay) if self._spec.function_decay else None
        parent = None if training.parent is None else _member_folder(training.parent, member)
        seed = derive_seed(training.seed, member, "ensemble/member")
        fit_point(replace(training, seed=seed, parent=parent), place, decay)

    def quick(self) -> Ensemble:
        """See ``Method.quick``; one member."""
        return Ensemble(self._spec.model_copy(update={"members": 1}))

    def load(self, folder: Path, record: JsonObject) -> Members:
        """See ``Method.load``."""
        count = int(record_number(folder, record, "members", lambda n: n >= 1 and n.is_integer()))
        return Members(tuple(load_adapter(_member_folder(folder, member)) for member in range(count)))


def _member_folder(folder: Path, member: int) -> Path:
    return folder / f"member-{member}"


class FunctionDecay:
    """A penalty γ·Σ_l ‖s·B_l·A_l‖_F² that keeps the members' functions near the base model's.

    Implements ``TrainingExtension``. Computed as s²·tr((BᵀB)(AAᵀ)) in O((d_in + d_out)·r²), without forming
    the product of size d_out × d_in.
    """

    reads_sequences = False

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma
        self._layers: list[tuple[Tensor, Tensor, float]] = []

    def attach(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """See ``TrainingExtension.attach``; there are no further parameters."""
        self._layers = [
            (layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, layer.scaling[ADAPTER])
            for layer in lora_layers(model).values()
        ]
        return ()

    def before_forward(self, batch: Minibatch) -> None:
        """See ``TrainingExtension.before_forward``; the penalty does not depend on the minibatch."""

    def penalty(self) -> Tensor:
        """See ``TrainingExtension.penalty``."""
        # tr(XY) of symmetric X, Y is the sum of their elementwise product.
        squares = [scale**2 * ((b.T @ b) * (a @ a.T)).sum() for a, b, scale in self._layers]
        return self._gamma * torch.stack(squares).sum()


@dataclass(frozen=True)
class Members:
    """The posterior: each member with the same weight, in their order."""

    members: tuple[LoraWeights, ...]
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; sample k is member k, whatever the seed.

        The mean is the mean of the members' weights, W₀ + 1/M Σ_m s·B_m·A_m: their mean prediction would take
        a pass for each member.

        Raises:
            ModelError: There is no such member.
        """
        with merged(backbone.model, self.layers, self.factors(seed, sample)):
            yield score

    @property
    def layers(self) -> Collection[str]:
        """See ``LowRankPosterior``."""
        return self.members[0].a.keys()

    def factors(self, seed: int, sample: int | None) -> Factors:
        """See ``LowRankPosterior``."""
        members = self.members if sample is None else self.members[sample : sample + 1]
        if not members:
            raise ModelError(
                f"the ensemble has {len(self.members)} members, so there is no sample {sample}, counted from 0. "
                "Ask for fewer samples, or start a campaign with more posterior.members."
            )

        def factors(name: str) -> tuple[Tensor, Tensor]:
            # Σ_m B_m A_m is one product of the factors side by side.
            b = torch.cat([one.b[name] * (one.scale / len(members)) for one in members], dim=1)
            return b, torch.cat([one.a[name] for one in members])

        return factors
