"""Training of a LoRA adapter on labelled prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import peft
import torch
from torch import Tensor, nn

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.attention import SequenceAttention
from star_al.models.backbone import DTYPES, Backbone
from star_al.models.batching import Batch, join, make_batch
from star_al.models.likelihood import label_log_probs
from star_al.models.lora import ADAPTER, attached, lora_layers, set_sequences
from star_al.models.prompts import Prompt
from star_al.models.training_layer import lean_layers
from star_al.ports import Advance


class Addition(Protocol):
    """What a method adds to ordinary training."""

    reads_sequences: bool
    """Whether it looks at the layers' inputs, which then are (sequences, tokens, features), padded."""

    def attach(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """Called once, when the adapter is in the layers of ``model``; optimisers of further parameters.

        Their step sizes follow the schedule; clipping their gradients is left to them.
        """

    def begin(self, batch: Batch) -> None:
        """Called before each forward pass."""

    def penalty(self) -> Tensor:
        """Called after each forward pass: a scalar, added to the batch's mean −log p."""


def train(
    backbone: Backbone,
    examples: Sequence[tuple[Prompt, int]],
    spec: AdapterSpec,
    *,
    seed: int,
    parent: LoraWeights | None,
    advance: Advance,
    addition: Addition | None = None,
) -> tuple[Mapping[str, Tensor], peft.PeftConfig]:
    """Fit A and B to (prompt, label column) pairs by −log p(label | prompt) under the softmax over labels.

    Returns the tensors by peft's names and peft's configuration. The base model is left as it was.

    Raises:
        ModelError: no examples, loss, gradient or adapter not finite.
    """
    if not examples:
        raise ModelError("there is no labelled example to train on. Label some items first.")
    _ = backbone.readout  # its checks belong to the bare model
    with reproducible(seed), attached(backbone.model, spec) as model:
        if parent is not None:
            _start_from(model, parent)
        _optimise(backbone, model, examples, spec, seed, advance, addition)
        tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        config = model.peft_config[ADAPTER]
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}, config


def _optimise(
    backbone: Backbone,
    model: nn.Module,
    examples: Sequence[tuple[Prompt, int]],
    spec: AdapterSpec,
    seed: int,
    advance: Advance,
    addition: Addition | None,
) -> None:
    adam = torch.optim.AdamW(parameter_groups(model, spec.weight_decay_b), lr=spec.learning_rate)
    optimisers = [adam, *(() if addition is None else addition.attach(model))]
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    rates = [group["lr"] for group in groups]
    parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
    total = step_count(len(examples), spec)
    batches = _shuffled_batches(len(examples), spec.batch_size, seed)
    model.train()
    for step in range(total):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * learning_rate_factor(step, total, spec.warmup_ratio)
        loss = training_loss(backbone, model, [examples[index] for index in next(batches)], addition)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)
        if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
            own = "" if addition is None else ", or what the posterior's section adds to the loss"
            dtype = (
                "" if backbone.dtype == "float32" else "; only a new campaign may set model.dtype: float32"
            )
            raise ModelError(
                f"training diverged at step {step + 1} of {total}: the loss is {loss.item():g}, its gradient "
                f"{norm.item():g}. Lower adapter.learning_rate (now {spec.learning_rate:g}){own}{dtype}."
            )
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        advance(1)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise ModelError(
                f"training diverged in its last step: {name} holds NaN or infinity. "
                f"Lower adapter.learning_rate (now {spec.learning_rate:g})."
            )


def training_loss(
    backbone: Backbone,
    model: nn.Module,
    examples: Sequence[tuple[Prompt, int]],
    addition: Addition | None = None,
) -> Tensor:
    """Mean −log p(label | prompt) in nats, and the addition's penalty; ``model`` has an adapter in its layers."""
    batch = make_batch([prompt for prompt, _ in examples], backbone.readout)
    if addition is not None:
        addition.begin(batch)
    batch, attention = _cheapest(batch, backbone, padded=addition is not None and addition.reads_sequences)
    set_sequences(model, batch)
    columns_B = torch.tensor([column for _, column in examples], device=backbone.device)
    half = backbone.dtype != "float32"
    autocast = torch.autocast(
        backbone.device.type, dtype=DTYPES[backbone.dtype] if half else None, enabled=half
    )
    with lean_layers(model), attention, autocast:
        log_probs_B_C = label_log_probs(backbone.readout, batch)
    loss = nn.functional.nll_loss(log_probs_B_C, columns_B)
    return loss if addition is None else loss + addition.penalty()


def _cheapest(
    batch: Batch, backbone: Backbone, *, padded: bool
) -> tuple[Batch, AbstractContextManager[object]]:
    """The batch as the device computes it fastest, without padding if it may be, and attention for it."""
    readout = backbone.readout
    if backbone.device.type != "cpu":
        return batch, nullcontext()
    if padded or not readout.joins or max(batch.lengths_R) > readout.window:
        return batch, SequenceAttention()
    return join(batch, readout.dtype), SequenceAttention(batch.lengths_R, batch.mask_R_1_S_T)


def parameter_groups(model: nn.Module, weight_decay_b: float) -> list[dict[str, Any]]:
    """A without and B with weight decay (STAR, hybrid regularisation)."""
    layers = lora_layers(model).values()
    return [
        {"params": [layer.lora_A[ADAPTER].weight for layer in layers], "weight_decay": 0.0},
        {"params": [layer.lora_B[ADAPTER].weight for layer in layers], "weight_decay": weight_decay_b},
    ]


def step_count(n: int, spec: AdapterSpec) -> int:
    """Optimiser steps on n examples."""
    return max(spec.epochs * math.ceil(n / spec.batch_size), spec.min_steps)


def learning_rate_factor(step: int, total: int, warmup_ratio: float) -> float:
    """Linear warm-up over ``warmup_ratio`` of the steps to 1, then linear decay towards 0; never 0."""
    warmup = math.ceil(warmup_ratio * total)
    return (step + 1) / (warmup + 1) if step < warmup else (total - step) / (total - warmup)


def _shuffled_batches(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """Endless epochs, each in its own random order."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator).tolist()
        yield from (order[start : start + size] for start in range(0, n, size))


@torch.no_grad()
def _start_from(model: nn.Module, parent: LoraWeights) -> None:
    """Copy a trained adapter's A and B.

    Raises:
        ModelError: it adapts other layers or has another rank.
    """
    for own, layer in lora_layers(model).items():
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        if own not in parent.a or a.shape != parent.a[own].shape or b.shape != parent.b[own].shape:
            raise ModelError(
                f"warm start: the last adapter does not fit layer {own}. Set adapter.warm_start: false."
            )
        a.copy_(parent.a[own])
        b.copy_(parent.b[own])


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeded generators and deterministic kernels within; both as before afterwards."""
    settings: Any = torch.utils.deterministic
    before, only_warn, fill = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        settings.fill_uninitialized_memory,
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False  # else all new memory is written twice
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warn)
            settings.fill_uninitialized_memory = fill
