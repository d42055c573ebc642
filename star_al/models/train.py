"""Training of a LoRA adapter on labelled prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

import peft
import torch
from torch import Tensor, nn

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.backbone import Backbone
from star_al.models.bare_base import left_as_it_was
from star_al.models.lora import ADAPTER, attached, lora_layers
from star_al.models.parallel.group import Group
from star_al.models.prompts import Prompt
from star_al.models.recomputed_blocks import recomputed_blocks
from star_al.models.targets import Columns, Target, TaughtPrompts, minibatch_parts, target_minibatches
from star_al.models.training_loss import TrainingExtension, add_gradients
from star_al.models.trunk import Trunk
from star_al.ports import Advance
from star_al.rng import derive_seed

Trained: TypeAlias = tuple[Mapping[str, Tensor], peft.PeftConfig]
"""A and B under peft's names, and peft's configuration."""

ALONE = Group()
"""This process trains by itself."""


def train(
    backbone: Backbone,
    examples: Sequence[tuple[Prompt, Columns]],
    spec: AdapterSpec,
    *,
    seed: int,
    parent: LoraWeights | None,
    advance: Advance,
    trunk: Trunk | None = None,
    extension: TrainingExtension | None = None,
    taught: TaughtPrompts | None = None,
    writes: bool = False,
    processes: Group = ALONE,
) -> Trained:
    """Fit A and B by the cross-entropy between labels and the model's answers.

    With ``adapter.loss: labels`` an answer is log p(label | prompt) normalised over the prompt's labels, with
    ``answer`` it is the language model's own log-likelihood of the label's tokens.

    Args:
        backbone: The base model, which is left as it was.
        examples: Prompts with the columns of their labels.
        spec: The adapter's settings.
        seed: Determines initialisation, order of examples and dropout.
        parent: An adapter to start from; ``None`` for a fresh one.
        advance: Called with 1 after each optimiser step.
        trunk: Frozen blocks whose activations are used.
        extension: What the posterior adds.
        taught: Further prompts, with the answers of another model.
        writes: True if labels are answers that the model learns to write: then the loss is a mean over tokens.
        processes: Those that train the adapter together, each of which calls this function.

    Returns:
        The tensors under peft's names, and peft's configuration.

    Raises:
        ModelError: There are no examples, or the loss, a gradient or the adapter is not finite.
    """
    if not examples:
        raise ModelError("there is no labelled example to train on. Label some items first.")
    # Checks are about the bare model, so they must run before the adapter is in.
    others = () if taught is None else taught.prompts
    backbone.readout.lengths.longest(max(map(len, [*(prompt for prompt, _ in examples), *others])))
    with left_as_it_was(backbone.model), reproducible(seed), attached(backbone.model, spec) as model:
        if parent is not None:
            _start_from(model, parent)
        processes.start_alike([p for p in model.parameters() if p.requires_grad])
        if processes.rank:  # other prompts have other masks of dropout
            torch.manual_seed(derive_seed(seed, processes.rank, "adapter/process"))
        total = step_count(len(examples), spec, 0 if taught is None else len(taught.prompts))
        minibatches = islice(target_minibatches(examples, taught, spec, seed, writes=writes), total)
        with recomputed_blocks(backbone.model, spec):
            _optimise(backbone, model, minibatches, total, spec, advance, trunk, extension, processes)
        tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        config = model.peft_config[ADAPTER]
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}, config


def _optimise(
    backbone: Backbone,
    model: nn.Module,
    minibatches: Iterator[list[Target]],
    total: int,
    spec: AdapterSpec,
    advance: Advance,
    trunk: Trunk | None,
    extension: TrainingExtension | None,
    processes: Group,
) -> None:
    adam = torch.optim.AdamW(parameter_groups(model, spec.weight_decay_b), lr=spec.learning_rate)
    optimisers = [adam, *(() if extension is None else extension.attach(model))]
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    rates = [group["lr"] for group in groups]
    parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
    every = [parameter for group in groups for parameter in group["params"]]
    average = _Average(every)
    averaged_from = total - round(spec.average * total)
    model.train()
    for step, targets in enumerate(minibatches):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * learning_rate_factor(step, total, spec.warmup_ratio)
        parts = processes.own_parts(targets, spec.training.gradient_accumulation)
        losses = [
            add_gradients(backbone, model, part, share, trunk, extension, loss=spec.loss)
            for part, share in parts
        ]
        loss = processes.add_up(losses, every)
        norm = nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            measured = f"the loss is {loss.item():g}, its gradient {norm.item():g}"
            raise _not_finite(measured, step, total, backbone, spec, extension)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        if step >= averaged_from:
            average.add()
        advance(1)
    average.put_in()
    # Each step checks its loss and gradient, so only what the last one made of the weights is unknown.
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise ModelError(
                f"training diverged in its last step: {name} holds NaN or infinity. "
                f"Lower adapter.learning_rate (now {spec.learning_rate:g})."
            )


def _not_finite(
    measured: str,
    step: int,
    total: int,
    backbone: Backbone,
    spec: AdapterSpec,
    extension: TrainingExtension | None,
) -> ModelError:
    dtype = "" if backbone.dtype == "float32" else "; only a new campaign may set model.dtype: float32"
    if step == 0:
        return ModelError(f"before the first training step {measured}. Check the model's weights{dtype}.")
    own = "" if extension is None else ", or what the posterior's section adds to the loss"
    return ModelError(
        f"training diverged at step {step + 1} of {total}: {measured}. "
        f"Lower adapter.learning_rate (now {spec.learning_rate:g}){own}{dtype}."
    )


def parameter_groups(model: nn.Module, weight_decay_b: float) -> list[dict[str, Any]]:
    """Return A without and B with weight decay (the hybrid regularisation of STAR, Zhang et al. 2024)."""
    layers = lora_layers(model).values()
    return [
        {"params": [layer.lora_A[ADAPTER].weight for layer in layers], "weight_decay": 0.0},
        {"params": [layer.lora_B[ADAPTER].weight for layer in layers], "weight_decay": weight_decay_b},
    ]


def step_count(n: int, spec: AdapterSpec, n_taught: int = 0) -> int:
    """Return the number of optimiser steps on n examples: ``epochs`` passes over them, whatever is taught beside."""
    n_own, _ = minibatch_parts(n, n_taught, spec)
    return max(spec.epochs * math.ceil(n / n_own), spec.min_steps)


def learning_rate_factor(step: int, total: int, warmup_ratio: float) -> float:
    """Rise linearly to 1 over ``warmup_ratio`` of the steps, then fall linearly towards 0; never 0 itself."""
    warmup = math.ceil(warmup_ratio * total)
    return (step + 1) / (warmup + 1) if step < warmup else (total - step) / (total - warmup)


class _Average:
    """The mean of parameters over some steps (Izmailov et al. 2018, arXiv 1803.05407).

    Args:
        parameters: The parameters.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters, self._count = parameters, 0
        self._means: list[Tensor] = []

    @torch.no_grad()
    def add(self) -> None:
        """Take in the parameters as they are now."""
        if not self._means:
            self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._count += 1
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean += (parameter - mean) / self._count

    @torch.no_grad()
    def put_in(self) -> None:
        """Give the parameters their means; leave them as they are if nothing was taken in."""
        if self._means:
            for parameter, mean in zip(self._parameters, self._means, strict=True):
                parameter.copy_(mean)


@torch.no_grad()
def _start_from(model: nn.Module, parent: LoraWeights) -> None:
    """Copy a trained adapter's A and B into the model's adapter.

    Raises:
        ModelError: The adapter has other layers or another rank.
    """
    for name, layer in lora_layers(model).items():
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        if name not in parent.a or a.shape != parent.a[name].shape or b.shape != parent.b[name].shape:
            raise ModelError(
                f"warm start: the last adapter does not fit layer {name}. Set adapter.warm_start: false."
            )
        a.copy_(parent.a[name])
        b.copy_(parent.b[name])


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Within, torch has seeded generators and deterministic kernels; afterwards both are as before."""
    settings: Any = torch.utils.deterministic
    before, only_warn, fill = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        settings.fill_uninitialized_memory,
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling memory finds code that reads it too early; it costs a second write of every new tensor.
        settings.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warn)
            settings.fill_uninitialized_memory = fill
