"""What a text is trained towards: its right label, or what another model says about it.

A target holds a prompt with only those labels that the training reads for it. With many labels that is what a step
costs: all of them are tokens that follow the prompt (docs/methods.md, "Training loss").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from star_al.config.spec import AdapterSpec, Loss
from star_al.models.prompts import Prompt
from star_al.rng import derive_seed
from star_al.types import FloatArray

Columns: TypeAlias = int | tuple[int, ...]
"""The column of a prompt's right label; if the labels are paired, the right one of each pair."""

LIKELIEST = 5
"""With ``loss: answer``, at most this many labels of a taught text are read, the likeliest ..."""

COVERED = 0.95
"""... and no more once they hold this much probability together."""


@dataclass(frozen=True)
class Target:
    """A prompt and the distribution over its labels that training moves the model to.

    Attributes:
        prompt: The prompt, with the labels that are read.
        shares: Probability of each of these labels; they sum to 1, or to 1 divided by the tokens of a written answer.
        weight: What the text counts in the loss of its minibatch.
    """

    prompt: Prompt
    shares: tuple[float, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class TaughtPrompts:
    """Prompts with another model's answers, see ``star_al.ports.Taught``.

    Attributes:
        prompts: The M prompts.
        probs_M_C: The other model's probabilities.
        weight: What one of them counts in the loss, against one that people answered.
    """

    prompts: Sequence[Prompt]
    probs_M_C: FloatArray
    weight: float


def answered(prompt: Prompt, columns: Columns, loss: Loss = "labels") -> Target:
    """Return the target of a text that people answered."""
    if isinstance(columns, tuple):
        share = 1.0 / len(columns)
        return Target(prompt, tuple(share * (label in columns) for label in range(len(prompt.labels))))
    if loss == "answer":
        return Target(replace(prompt, labels=(prompt.labels[columns],)), (1.0,))
    return Target(prompt, tuple(float(label == columns) for label in range(len(prompt.labels))))


def some_answers(prompt: Prompt, number: int) -> Columns:
    """Return columns that could be right, to try out a training; other ones for other numbers."""
    if prompt.paired:
        return tuple(column + (column // 2 + number) % 2 for column in range(0, len(prompt.labels), 2))
    return number % len(prompt.labels)


def written(prompt: Prompt) -> Target:
    """Return the target of a written answer, the prompt's only label: each token counts the same in a minibatch."""
    (answer,) = prompt.labels
    return Target(prompt, (1.0 / len(answer),), float(len(answer)))


def taught(prompt: Prompt, probs_C: FloatArray, weight: float, loss: Loss = "labels") -> Target:
    """Return the target of a text that another model answered."""
    shares_C = probs_C[: len(prompt.labels)]
    if loss != "answer":
        return Target(prompt, tuple((shares_C / shares_C.sum()).tolist()), weight)
    order = np.argsort(-shares_C, kind="stable")[:LIKELIEST]
    enough = int(np.searchsorted(np.cumsum(shares_C[order]), COVERED)) + 1
    chosen = sorted(order[:enough].tolist())
    shares = shares_C[chosen] / shares_C[chosen].sum()
    return Target(
        replace(prompt, labels=tuple(prompt.labels[label] for label in chosen)),
        tuple(shares.tolist()),
        weight,
    )


def target_minibatches(
    examples: Sequence[tuple[Prompt, Columns]],
    lessons: TaughtPrompts | None,
    spec: AdapterSpec,
    seed: int,
    *,
    writes: bool = False,
) -> Iterator[list[Target]]:
    """Yield minibatches without end; each text returns once per epoch over its own kind, in a random order.

    Args:
        examples: Prompts with the columns of the labels that people gave.
        lessons: What another model taught; ``None`` for nothing.
        spec: The adapter's settings.
        seed: Determines the order.
        writes: True if labels are answers that the model learns to write.
    """
    own = [
        written(prompt) if writes else answered(prompt, columns, spec.loss) for prompt, columns in examples
    ]
    if lessons is None or not lessons.prompts:
        yield from ([own[place] for place in part] for part in _shuffled(len(own), spec.batch_size, seed))
        return
    n_own, n_taught = minibatch_parts(len(own), len(lessons.prompts), spec)
    others = _shuffled_one_by_one(len(lessons.prompts), derive_seed(seed, 0, "adapter/taught"))
    for part in _shuffled(len(own), n_own, seed):
        # The last part of an epoch is shorter, and so are all of few texts.
        places = [next(others) for _ in range(max(1, round(len(part) * n_taught / n_own)))]
        yield [own[place] for place in part] + [
            taught(lessons.prompts[place], lessons.probs_M_C[place], lessons.weight, spec.loss)
            for place in places
        ]


def minibatch_parts(n_examples: int, n_taught: int, spec: AdapterSpec) -> tuple[int, int]:
    """Return how many texts of a minibatch people answered, and how many another model; at least one of each.

    Few taught texts get the share that they have among all texts, so that none is seen more often than a text
    that people answered.
    """
    if not n_taught:
        return spec.batch_size, 0
    share = min(spec.taught_share, n_taught / (n_examples + n_taught))
    of_taught = max(1, min(spec.batch_size - 1, round(share * spec.batch_size)))
    return max(1, spec.batch_size - of_taught), of_taught


def _shuffled(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield positions of texts, epoch after epoch without end, each epoch in its own random order."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator).tolist()
        yield from (order[start : start + size] for start in range(0, n, size))


def _shuffled_one_by_one(n: int, seed: int) -> Iterator[int]:
    for part in _shuffled(n, n, seed):
        yield from part
