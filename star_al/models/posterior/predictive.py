"""What the mean over a posterior's samples predicts, and how well it predicts known labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from star_al.models.collate import collate
from star_al.models.likelihood import answer_log_likelihoods, hidden_at_nodes, label_log_likelihoods
from star_al.models.minibatch import Minibatch
from star_al.models.posterior import Posterior, Score, Training
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.targets import Columns
from star_al.models.writing.tokens import all_logits

_PLACES = 128
"""Places that are read at once, each with logits of the whole vocabulary."""


def loss_steps(n_examples: int, batch_size: int, n_draws: int) -> int:
    """Return the number of minibatches that ``predictive_loss`` sends through the model."""
    return n_draws * math.ceil(n_examples / batch_size)


def predictive_loss(training: Training, posterior: Posterior, draws: Sequence[int | None]) -> float:
    """Compute the loss of the predictive mean on the training's examples.

    Args:
        training: The model and the examples.
        posterior: A fitted posterior.
        draws: Numbers of the samples; ``None`` stands for the mean or mode.

    Returns:
        Mean of −log p̄(label | prompt) in nats. NaN or infinite if the model's answers are.
    """
    readout, size = training.backbone.readout, training.adapter.batch_size  # what fits in training fits here
    by_length = sorted(training.examples, key=lambda example: len(example[0]))
    batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]

    def score(batch: Minibatch) -> Tensor:
        return (
            answer_log_likelihoods(readout, batch)
            if training.writes
            else label_log_likelihoods(readout, batch)
        )

    log_probs_K_N = torch.empty(len(draws), len(by_length), dtype=torch.float64)
    for log_probs_N, sample in zip(log_probs_K_N, draws, strict=True):
        with quiet(), posterior.draw(training.backbone, score, training.seed, sample) as drawn:
            for part_B, batch in zip(log_probs_N.split(size), batches, strict=True):
                part_B.copy_(_log_probs_of_labels(drawn, batch, training))
                training.advance(1)
    # −log of the mean over samples, as log K − log Σ exp.
    return float(math.log(len(draws)) - log_probs_K_N.logsumexp(dim=0).mean())


def predicted_columns(
    training: Training, prompts: Sequence[Prompt], posterior: Posterior, draws: Sequence[int | None]
) -> Tensor:
    """Compute the columns of the labels that the predictive mean prefers.

    Args:
        training: The model, and the size of minibatches.
        prompts: N prompts.
        posterior: A fitted posterior.
        draws: Numbers of the samples; ``None`` stands for the mean or mode.

    Returns:
        Columns (N,), in the order of ``prompts``; −1 where an answer is NaN.
    """
    readout, size = training.backbone.readout, training.adapter.batch_size
    readout.lengths.longest(max(map(len, prompts), default=0))  # asks the bare model, so before any sample
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    batches = [order[start : start + size] for start in range(0, len(order), size)]

    def score(batch: Minibatch) -> Tensor:
        return label_log_likelihoods(readout, batch)

    sums: list[Tensor] = []
    for sample in draws:
        with quiet(), posterior.draw(training.backbone, score, training.seed, sample) as drawn:
            probs = []
            for places in batches:
                probs.append(_probs(drawn, [prompts[place] for place in places], training))
                training.advance(1)
        sums = [total + part for total, part in zip(sums, probs, strict=True)] if sums else probs
    columns_N = torch.empty(len(prompts), dtype=torch.long)
    for places, sum_B_C in zip(batches, sums, strict=True):
        columns_N[places] = torch.where(sum_B_C.isnan().any(dim=1), -1, sum_B_C.argmax(dim=1))
    return columns_N


def likeliest_tokens(training: Training, posterior: Posterior, sample: int | None) -> Tensor:
    """Compute the token that a sample prefers at each place of the training's answers, all one after another.

    Args:
        training: The model, and examples whose labels are written answers.
        posterior: A fitted posterior.
        sample: Number of the sample; ``None`` for the mean or mode.

    Returns:
        Tokens (T,); −1 where an answer is NaN.
    """
    readout, size = training.backbone.readout, training.adapter.batch_size
    prompts = sorted((prompt for prompt, _ in training.examples), key=len)
    readout.lengths.longest(max(map(len, prompts), default=0))  # asks the bare model, so before any sample

    def choose(batch: Minibatch) -> Tensor:
        parts = hidden_at_nodes(readout, batch).split(_PLACES)
        return torch.cat([_likeliest(all_logits(readout, part_Q_d)) for part_Q_d in parts])

    found = []
    with (
        quiet(),
        posterior.draw(training.backbone, choose, training.seed, sample) as drawn,
        torch.inference_mode(),
    ):
        for start in range(0, len(prompts), size):
            found.append(drawn(collate(prompts[start : start + size], readout, training.trunk)).cpu())
            training.advance(1)
    return torch.cat(found)


def _likeliest(logits_Q_V: Tensor) -> Tensor:
    return torch.where(logits_Q_V.isnan().any(dim=1), -1, logits_Q_V.argmax(dim=1))


@torch.inference_mode()
def _probs(score: Score, prompts: Sequence[Prompt], training: Training) -> Tensor:
    """Return p(label | prompt), (B, C) float64, on the CPU."""
    batch = collate(prompts, training.backbone.readout, training.trunk)
    return score(batch).double().softmax(dim=-1).cpu()


@torch.inference_mode()
def _log_probs_of_labels(
    score: Score, examples: Sequence[tuple[Prompt, Columns]], training: Training
) -> Tensor:
    """Return log p(label | prompt), (B,) float64, on the CPU; of a written answer, its own."""
    batch = collate([prompt for prompt, _ in examples], training.backbone.readout, training.trunk)
    log_probs_B_C: Tensor = score(batch).double().cpu()
    if not training.writes:
        log_probs_B_C = log_probs_B_C.log_softmax(dim=-1)
    # Several columns share a tie.
    right = [list(each) if isinstance(each, tuple) else [each] for _, each in examples]
    return torch.stack([row_C[each].mean() for row_C, each in zip(log_probs_B_C, right, strict=True)])
