"""How long a round of LoRA takes on this machine: estimated from lengths, sizes and a timed matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from star_al.acquire.shortlist import texts_to_score
from star_al.common.wording import count
from star_al.config.spec import CampaignSpec

SHORT_ROUND = 60.0
"""Seconds that a round of LoRA may take if it is to be trained every round."""

_CHARACTERS_PER_TOKEN = 4
_WORDING_TOKENS = 30
"""Tokens of a prompt beside the text and the labels: instruction, template and the marks of a chat."""

_TRAINED = 15.0
_SCORED = 4.0
"""What a token costs in training and in scoring, in plain matrix products with the model's weights.

More than the 3 products and the one that it takes: norms, attention and the like run at the speed of memory, not of the
matrix units. Measured with SmolLM2-135M on two cores of a Xeon with AMX (docs/studies/speed.md). All linear layers are
trained; the query and value projections alone take two thirds."""

_STEP_TOKENS = 600
"""A training step takes as long as if its texts had so many more tokens: small products, optimiser, Python."""

_SHARES = (0.25, 0.5)
"""At which shares of the label budget LoRA is trained when it is not trained each round, beside the end."""


@dataclass(frozen=True)
class RoundWork:
    """What a round of LoRA reads, in training and while it scores the pool and the held-out texts.

    Attributes:
        trained: Tokens of all training steps.
        scored: Tokens of all scoring passes.
        steps: Training steps.
        passes: Readings of a text while scoring: one for each posterior sample, but one in all for the stop set.
    """

    trained: float
    scored: float
    steps: int
    passes: int


def round_work(spec: CampaignSpec, n_texts: int, characters: float) -> RoundWork:
    """Estimate what a round reads when half of the label budget is spent.

    The texts of a test file are left out, as the file may not have been read yet.

    Args:
        spec: The campaign.
        n_texts: Texts of the data.
        characters: How many a text has, on average.
    """
    adapter, labels = spec.adapter, spec.task.label_names
    answers = 0.0 if spec.has_classifier else sum(_tokens(len(label)) + 1 for label in labels)
    wording = _WORDING_TOKENS + sum(_tokens(len(label)) for label in labels)
    text = min(_tokens(characters), max(1, spec.model.max_tokens - wording))
    steps = max(
        adapter.min_steps, math.ceil(trainable(spec, n_texts) / 2 * adapter.epochs / adapter.batch_size)
    )
    passes = _passes(spec, n_texts)
    return RoundWork(
        trained=steps * adapter.batch_size * (wording + text + answers),
        scored=passes * (text + answers),  # the wording is read once for all
        steps=steps,
        passes=passes,
    )


def _passes(spec: CampaignSpec, n_texts: int) -> int:
    """How often a text is read to rank the pool, to measure the model and to compare it with the round before."""
    evaluation = spec.evaluation
    measured = min(evaluation.reserved + evaluation.calibration, n_texts)
    pool = n_texts - measured
    ranked = _ranked(spec, pool - min(trainable(spec, n_texts) // 2, pool))
    return (ranked + measured) * spec.posterior.samples + min(evaluation.stop_set, pool)


def _ranked(spec: CampaignSpec, pool: int) -> int:
    """How many texts of the pool are scored, in a round after the first that trains something."""
    chosen, shortlist = spec.acquisition, spec.acquisition.shortlist
    if not shortlist.is_on:
        return min(chosen.candidates or pool, pool)
    return texts_to_score(pool, shortlist.share, shortlist.size, spec.shortlist_depth, shortlist.random_share)


def trainable(spec: CampaignSpec, n_texts: int) -> int:
    """How many labels of the budget the model is trained on: not those that it is measured on."""
    audit = spec.evaluation.size if spec.evaluation.kind == "audit" else 0
    budget = n_texts if spec.stopping.max_labels is None else min(n_texts, spec.stopping.max_labels)
    return max(1, budget - audit - spec.evaluation.calibration)


def _tokens(characters: float) -> float:
    return math.ceil(characters / _CHARACTERS_PER_TOKEN)


def seconds_of_round(work: RoundWork, parameters: float, products_per_second: float) -> float:
    """How long a round takes.

    Args:
        work: What it reads.
        parameters: Those that each token is multiplied by.
        products_per_second: The speed of the machine.
    """
    trained = _TRAINED * (work.trained + _STEP_TOKENS * work.steps)
    return parameters * (trained + _SCORED * work.scored) / products_per_second


def estimate_in(folder: Path) -> Callable[[CampaignSpec, RoundWork], float | None]:
    """Return what estimates a round on this machine, in about a second, for a campaign file in a folder.

    It returns None if the size of the model is not known. Of a model on the hub, no weights are fetched.
    """

    def estimate(spec: CampaignSpec, work: RoundWork) -> float | None:
        from star_al.models.speed import parameters_used, products_per_second

        name = spec.model.given_name
        local = folder / name
        parameters = parameters_used(str(local) if local.is_dir() else name, spec.model.revision)
        if parameters is None:
            return None
        return seconds_of_round(work, parameters, products_per_second(spec.model.device, spec.model.dtype))

    return estimate


def label_counts(spec: CampaignSpec, n_texts: int, n_given: int) -> tuple[int, ...]:
    """At how many labels LoRA is trained besides the end: whole batches, more labels than are given already."""
    batch, room = spec.acquisition.batch_size, trainable(spec, n_texts) - n_given
    counts = {n_given + batch * round(share * room / batch) for share in _SHARES}
    return tuple(sorted(each for each in counts if n_given < each < n_given + room))


def in_words(seconds: float) -> str:
    """A duration, as precise as an estimate is."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {count(10 * round(seconds / 10), 'second')}"
    minutes = seconds / 60
    number = count(round(minutes), "minute") if minutes < 90 else count(round(minutes / 60), "hour")
    return f"about {number}"
