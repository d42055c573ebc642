"""Engines that score labels and draw answers with samples of a posterior: ``model.engine``.

``transformers_engine`` does so with the model in this process, and ``vllm_engine`` hands the work to vLLM, to which a
sample is a LoRA adapter; ``vllm_requests`` is what it asks and how it reads the answers. Everything else that needs
the model (training, hidden states, the likeliest answer and its entropy) stays with the model in this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from star_al.models.posterior import Posterior
from star_al.models.prompts import Prompt
from star_al.models.writing.ending import Ending
from star_al.models.writing.writer import Written
from star_al.ports import Advance
from star_al.types import Categorical, FloatArray


@dataclass(frozen=True)
class Writing:
    """How answers are drawn.

    Attributes:
        ending: When an answer is over.
        longest: Tokens of an answer, at most, the end included.
        draws: Answers of each sample to a prompt.
    """

    ending: Ending
    longest: int
    draws: int


class Engine(Protocol):
    """Scores and draws."""

    def label_log_probs(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Categorical:
        """Predict labels with each sample, normalised over the labels of each prompt.

        Args:
            prompts: The N prompts.
            posterior: A fitted posterior; ``None`` for the base model.
            draws: Numbers of the K samples; ``None`` stands for the posterior's mean or mode.
            seed: Seed of the samples.
            advance: Called with the number of prompts that all samples have read.
            tolerance: Total variation distance between a prediction of a sample and the exact one, at most.

        Returns:
            Log-probabilities (N, K, C).

        Raises:
            ModelError: A prompt cannot be read.
        """

    def answer_log_likelihoods(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> FloatArray:
        """Return log p(all tokens of a label | prompt) by each sample, (N, K, C); −inf for labels a prompt lacks.

        Arguments and errors are those of ``label_log_probs``.
        """

    def draw_answers(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        sample: int | None,
        seed: int,
        writing: Writing,
        advance: Advance,
    ) -> list[list[Written]]:
        """Draw answers by one sample: functions of the seed, the sample and the item.

        Args:
            prompts: The N prompts.
            posterior: A fitted posterior; ``None`` for the base model.
            sample: The number of the sample; ``None`` for the mean or mode.
            seed: Seed of samples and draws.
            writing: How answers are drawn.
            advance: Called with the number of prompts that have answers.

        Returns:
            The draws for each prompt.
        """

    def rest(self) -> None:
        """Leave the device to a training; the next call takes it back."""
