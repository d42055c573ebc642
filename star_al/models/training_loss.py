"""The loss of one minibatch and its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from star_al.config.spec import Loss
from star_al.models.backbone import Backbone
from star_al.models.collate import collate
from star_al.models.devices import DTYPES
from star_al.models.fused_lora import fused_lora_layers
from star_al.models.likelihood import answer_log_likelihoods, label_log_probs
from star_al.models.lora import set_dropout_sequences
from star_al.models.minibatch import Minibatch, join
from star_al.models.readout import Readout
from star_al.models.sequence_attention import SequenceAttention
from star_al.models.targets import Target
from star_al.models.trunk import Trunk


class TrainingExtension(Protocol):
    """What a posterior adds to the ordinary training of an adapter."""

    reads_sequences: bool
    """True if it needs the inputs of layers as (sequences, tokens, features), so that they may not be joined."""

    def attach(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """Prepare for training; called once, when the adapter is in the layers of ``model``.

        Returns:
            Optimisers of further parameters. Their learning rates follow the schedule; clipping their
            gradients is up to them.
        """

    def before_forward(self, batch: Minibatch) -> None:
        """Prepare for a minibatch; called before each forward pass."""

    def penalty(self) -> Tensor:
        """Return a scalar that is added to the minibatch's mean −log p; called after each forward pass."""


def training_loss(
    backbone: Backbone,
    model: nn.Module,
    targets: Sequence[Target],
    trunk: Trunk | None = None,
    extension: TrainingExtension | None = None,
    *,
    loss: Loss = "labels",
) -> Tensor:
    """Compute the loss of one minibatch.

    Args:
        backbone: The base model.
        model: The base model with an adapter in its layers.
        targets: Prompts and what they are trained towards.
        trunk: Frozen blocks whose activations are used.
        extension: What the posterior adds.
        loss: ``adapter.loss``.

    Returns:
        The weighted mean of −Σ_c q_c log p(c | prompt) in nats, plus the extension's penalty; a scalar.
    """
    with _loss_within(backbone, model, targets, trunk, extension, loss) as cost:
        return cost


def add_gradients(
    backbone: Backbone,
    model: nn.Module,
    targets: Sequence[Target],
    share: float,
    trunk: Trunk | None = None,
    extension: TrainingExtension | None = None,
    *,
    loss: Loss = "labels",
) -> Tensor:
    """Add the gradient of a part of a minibatch to that of the parameters.

    Args:
        backbone: The base model.
        model: The base model with an adapter in its layers.
        targets: The part.
        share: Its share of the minibatch's weight.
        trunk: As for ``training_loss``, and so are ``extension`` and ``loss``.
        extension: See there.
        loss: See there.

    Returns:
        The part's share of the minibatch's loss, without a gradient.
    """
    with _loss_within(backbone, model, targets, trunk, extension, loss) as cost:
        cost = cost * share
        cost.backward()  # with gradient checkpointing, each block is computed again here, by the same layers
        return cost.detach()


@contextmanager
def _loss_within(
    backbone: Backbone,
    model: nn.Module,
    targets: Sequence[Target],
    trunk: Trunk | None,
    extension: TrainingExtension | None,
    loss: Loss,
) -> Iterator[Tensor]:
    """Yield the loss while the model's layers are still those that it was computed with."""
    batch = collate([target.prompt for target in targets], backbone.readout, trunk)
    if extension is not None:
        extension.before_forward(batch)
    keep_rows = extension is not None and extension.reads_sequences
    batch, attention = for_device(batch, backbone, keep_rows=keep_rows)
    set_dropout_sequences(model, batch)
    half = backbone.dtype != "float32"
    autocast = torch.autocast(
        backbone.device.type, dtype=DTYPES[backbone.dtype] if half else None, enabled=half
    )
    with fused_lora_layers(model), attention:
        with autocast:
            log_probs_B_C = log_answers(backbone.readout, batch, loss)
        cost = _cross_entropy(log_probs_B_C, targets)
        yield cost if extension is None else cost + extension.penalty()


def log_answers(readout: Readout, batch: Minibatch, loss: Loss) -> Tensor:
    """Compute the log-probabilities that a loss is made of, (B, C) float32; −inf for labels a prompt does not have."""
    if loss == "answer":
        return answer_log_likelihoods(readout, batch)
    return label_log_probs(readout, batch)


def _cross_entropy(log_probs_B_C: Tensor, targets: Sequence[Target]) -> Tensor:
    width, device = log_probs_B_C.shape[1], log_probs_B_C.device
    shares = [[*target.shares, *[0.0] * (width - len(target.shares))] for target in targets]
    shares_B_C = torch.tensor(shares, device=device)
    weights_B = torch.tensor([target.weight for target in targets], device=device)
    # 0 · log 0 = 0: labels that a prompt does not have are −inf.
    terms_B_C = shares_B_C * torch.where(shares_B_C > 0, log_probs_B_C, 0.0)
    return -(weights_B * terms_B_C.sum(dim=1)).sum() / weights_B.sum()


def for_device(
    batch: Minibatch, backbone: Backbone, *, keep_rows: bool
) -> tuple[Minibatch, AbstractContextManager[object]]:
    """Return the minibatch in the form that the device trains on fastest, and the attention that it needs.

    A GPU takes the padded minibatch with torch's attention. A CPU takes joined sequences, which need no
    padding, unless rows must be kept or a sequence exceeds the attention's window.
    """
    readout = backbone.readout
    if backbone.device.type != "cpu":
        return batch, nullcontext()
    if keep_rows or not readout.supports_joining or not readout.lengths.is_whole(max(batch.lengths_R)):
        return batch, SequenceAttention()
    return join(batch, readout.dtype), SequenceAttention(batch.lengths_R, batch.mask_R_1_S_T)
