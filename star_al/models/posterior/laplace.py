"""Laplace-LoRA (Yang et al. 2024, arXiv 2308.13111): a Gaussian around the trained adapter, N(θ, (F + τI)⁻¹).

F is the KFAC curvature of the training loss in A and B, τ the precision of the prior. The prior's mean θ₀ is the
adapter before training, (A₀, 0), or zero. It moves the evidence, and the τ that the evidence chooses, but not the
samples: they lie around θ.

The default of τ is about the precision of LoRA's own initialisation: entries of A start with variance 1/(3·d_in),
and 3·d_in = 1728 at d_in = 576, the only width it was tried at. A wider model needs a larger one, 3·d_in = 12,288 at
4096. The evidence, by which the paper chooses τ, is an option (docs/methods.md, "Laplace"). The record keeps its τ
either way.

A sample δ is drawn once, shared by all items, and merged into the weights as θ + δ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from star_al.config.spec import AdapterSpec, LaplaceSpec
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.adapter_record import read_record, record_choice, record_number
from star_al.models.artefact_files import damaged, read_tensors, write_tensors
from star_al.models.backbone import Backbone
from star_al.models.posterior import Factors, Score, Training
from star_al.models.posterior.curvature import Curvature, curvature
from star_al.models.posterior.kfac import Block, Evidence
from star_al.models.posterior.merging import merged
from star_al.models.posterior.point import PostHoc
from star_al.models.posterior.start import starting_a
from star_al.models.quiet import quiet
from star_al.models.train import reproducible
from star_al.rng import derive_seed
from star_al.types import JsonObject

FILE = "laplace.safetensors"
"""The curvature, beside the adapter: U, V and κ (see ``kfac.Block``) of Aᵀ and of B of each layer."""

START_SEED = "start_seed"
"""Key of the seed that A₀ was drawn with, in the record; a warm start keeps that of its parent."""

SAMPLING = "sampling"
"""How samples are used, in the record. Version 0.1 also wrote ``linearised``, whose adapters cannot be read."""


class Laplace(PostHoc):
    """Curvature and evidence are those of the training examples."""

    def __init__(self, spec: LaplaceSpec) -> None:
        self._spec = spec

    def refining_steps(self, n_examples: int, adapter: AdapterSpec) -> int:
        """See ``PostHoc.refining_steps``."""
        return math.ceil(n_examples / adapter.batch_size)

    def refine(self, training: Training, folder: Path) -> JsonObject:
        """See ``PostHoc.refine``."""
        weights = load_adapter(folder)
        layers = sorted(weights.a) if self._spec.subset == "all" else last_block(weights.a)
        with quiet(), reproducible(training.seed):
            found = curvature(
                training,
                weights,
                layers=layers,
                n_kfac=self._spec.n_kfac,
                seed=derive_seed(training.seed, 0, "laplace/curvature"),
            )
        start: Mapping[str, Tensor] = {}
        record: JsonObject = {"predictive": SAMPLING, "log_likelihood": found.log_likelihood}
        if self._spec.prior_mean == "start":
            seed = _start_seed(training)
            start = starting_a(training.backbone, training.adapter, seed)
            record = {**record, START_SEED: seed}
        save_blocks(folder, found.blocks)
        return {**record, **self._prior(found, squared_distance(weights, start, layers))}

    def _prior(self, found: Curvature, distance: float) -> JsonObject:
        """Return what the record says about τ: the one that is used, its evidence, and the one of most evidence."""
        blocks = [block for pair in found.blocks.values() for block in pair]
        evidence = Evidence.of(blocks, distance, found.log_likelihood)
        best, chosen = evidence.best_precision(), self._spec.prior_precision
        # The best τ is recorded in any case: it tells how far the default is from what the paper would
        # choose.
        precision = best if chosen == "evidence" else chosen
        return {
            "prior_precision": precision,
            "log_evidence": evidence.log(precision),
            "evidence_precision": best,
        }

    def load(self, folder: Path, record: JsonObject) -> GaussianAdapter:
        """See ``Method.load``."""
        weights = load_adapter(folder)
        blocks = load_blocks(folder, weights)
        precision = record_number(folder, record, "prior_precision", lambda tau: tau > 0)
        record_choice(folder, record, "predictive", (SAMPLING,))
        return GaussianAdapter(weights, blocks, precision)


def _start_seed(training: Training) -> int:
    """Return the seed of the first adapter of a chain of warm starts; without a parent, that of the training."""
    if training.parent is None:
        return training.seed
    record = read_record(training.parent)
    record_number(training.parent, record, START_SEED, lambda seed: seed >= 0)
    return int(record[START_SEED])  # not the float, which rounds large seeds


def squared_distance(weights: LoraWeights, start: Mapping[str, Tensor], layers: Iterable[str]) -> float:
    """Return ‖θ − θ₀‖² over the A and B of ``layers``.

    Args:
        weights: θ.
        start: A₀ by layer; empty for θ₀ = 0. B₀ is zero in any case.
        layers: Names of layers.
    """
    total = 0.0
    for name in layers:
        moved = weights.a[name] - start[name] if start else weights.a[name]
        total += float(moved.double().square().sum() + weights.b[name].double().square().sum())
    return total


def last_block(names: Iterable[str]) -> list[str]:
    """Return the layers of the model's last block: those with the highest first number in their name, sorted."""
    numbers = {name: int(found[1]) for name in names if (found := re.search(r"\.(\d+)\.", name))}
    last = max(numbers.values(), default=None)
    return sorted(name for name in names if numbers.get(name) == last)


@dataclass(frozen=True)
class GaussianAdapter:
    """A Gaussian around an adapter.

    Attributes:
        weights: The adapter, θ.
        blocks: Curvature of Aᵀ and of B, by layer. Layers without are not sampled.
        precision: τ.
        shares_prefix: See ``Posterior``.
    """

    weights: LoraWeights
    blocks: Mapping[str, tuple[Block, Block]]
    precision: float
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``; ``None`` gives the adapter as trained, the mode."""
        with merged(backbone.model, self.layers, self.factors(seed, sample)):
            yield score

    @property
    def layers(self) -> Collection[str]:
        """See ``LowRankPosterior``."""
        return self.weights.a.keys()

    def factors(self, seed: int, sample: int | None) -> Factors:
        """See ``LowRankPosterior``."""
        a, b, scale = self.weights.a, self.weights.b, self.weights.scale
        steps = {} if sample is None else {name: self.step(name, seed, sample) for name in self.blocks}

        def factors(name: str) -> tuple[Tensor, Tensor]:
            if name not in steps:
                return b[name] * scale, a[name]
            step_a, step_b = steps[name]
            return (b[name] + step_b) * scale, a[name] + step_a

        return factors

    def step(self, name: str, seed: int, sample: int) -> tuple[Tensor, Tensor]:
        """Draw δ of A (r, d_in) and of B (d_out, r) of a layer, float32."""
        steps = []
        for half, block in zip("AB", self.blocks[name], strict=True):
            # A generator for each matrix, so that a draw does not depend on which other layers are adapted.
            generator = torch.Generator().manual_seed(derive_seed(seed, sample, f"laplace/{name}.{half}"))
            noise_D_r = torch.randn(len(block.wide_D_n), len(block.narrow_r_r), generator=generator)
            steps.append(block.draw(noise_D_r, self.precision))
        return steps[0].T, steps[1]


def save_blocks(folder: Path, blocks: Mapping[str, tuple[Block, Block]]) -> None:
    """Write ``FILE``.

    Raises:
        StoreError: The folder cannot be written.
    """
    tensors = {
        f"{name}.{half}.{part}": tensor
        for name, pair in blocks.items()
        for half, block in zip("AB", pair, strict=True)
        for part, tensor in vars(block).items()
    }
    write_tensors(folder / FILE, tensors)


def load_blocks(folder: Path, weights: LoraWeights) -> dict[str, tuple[Block, Block]]:
    """Read what ``save_blocks`` wrote beside the adapter ``weights``.

    Raises:
        ModelError: The file is missing or damaged, does not fit the adapter, or holds NaN or infinity.
    """
    path = folder / FILE
    tensors = read_tensors(path)
    try:
        return {
            name: (
                _block(tensors, f"{name}.A", weights.a[name].T),
                _block(tensors, f"{name}.B", weights.b[name]),
            )
            for name in sorted({key.rsplit(".", 2)[0] for key in tensors})
        }
    except (KeyError, ValueError) as exc:
        raise damaged(path, f"no curvature of this adapter: {exc}") from exc


def _block(tensors: Mapping[str, Tensor], key: str, theta_D_r: Tensor) -> Block:
    """Return a block of a file.

    Raises:
        KeyError: A part is missing.
        ValueError: A part does not fit Θ (d × r), or a curvature is negative.
    """
    block = Block(*(tensors[f"{key}.{field.name}"] for field in fields(Block)))
    (wide, narrow), n = theta_D_r.shape, len(block.curvature_n_r)
    shapes = [tuple(tensor.shape) for tensor in vars(block).values()]
    if shapes != [(wide, n), (narrow, narrow), (n, narrow)] or bool((block.curvature_n_r < 0).any()):
        raise ValueError(key)
    return block
