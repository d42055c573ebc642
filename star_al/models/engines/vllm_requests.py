"""What vLLM is asked, and how its answers are read; nothing here needs vLLM itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from star_al.errors import ModelError, NotFiniteError
from star_al.models.engines import Writing
from star_al.models.prompts import Prompt
from star_al.models.writing.writer import Written
from star_al.rng import derive_seed
from star_al.types import FloatArray

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as ``max_lora_rank``."""

_SEEDS = 2**31


class TokenLogProb(Protocol):
    """What vLLM says of a token at a position."""

    logprob: float


@dataclass(frozen=True)
class Scored:
    """A sequence whose last tokens are scored.

    Attributes:
        place: Of which prompt and which of its labels.
        tokens: The prompt's tokens and the label's.
        start: Where the label begins.
    """

    place: tuple[int, int]
    tokens: tuple[int, ...]
    start: int


def sequences_to_score(prompts: Sequence[Prompt]) -> Iterator[Scored]:
    """Yield a sequence for each label of each prompt.

    Raises:
        ModelError: A prompt is compared by rewards, for which the base model is read as well.
    """
    for row, prompt in enumerate(prompts):
        if prompt.reward is not None:
            raise ModelError("model.engine: vllm compares no rewards. Set model.engine: transformers.")
        for column, label in enumerate(prompt.labels):
            yield Scored((row, column), prompt.tokens + label, len(prompt.tokens))


def scoring_arguments() -> dict[str, Any]:
    """Return the arguments of ``SamplingParams`` that give the log-probability of each token of the sequence alone."""
    return {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "detokenize": False}


def log_likelihood(
    scored: Scored, prompt_logprobs: Sequence[Mapping[int, TokenLogProb] | None], item_id: str
) -> float:
    """Add up the log-probabilities of a label's tokens.

    Args:
        scored: The sequence.
        prompt_logprobs: Of vLLM's ``RequestOutput``: what is known of the token at each position, none at the first.
        item_id: The item, for errors.

    Raises:
        NotFiniteError: One is NaN.
    """
    total = 0.0
    for position in range(scored.start, len(scored.tokens)):
        known = prompt_logprobs[position]
        if known is None:
            raise ModelError(f"item {item_id}: the prompt is empty, so vLLM does not score its labels.")
        total += known[scored.tokens[position]].logprob
    if not total < np.inf:  # NaN too
        raise NotFiniteError(
            f"the model answers NaN for item {item_id}. Check the model's weights; a new campaign may try "
            "model.dtype: float32."
        )
    return total


def normalised(log_likelihoods_N_K_C: FloatArray, prompts: Sequence[Prompt]) -> FloatArray:
    """Return log-probabilities: over the labels of each prompt; of paired labels within each pair."""
    found_N_K_C = log_likelihoods_N_K_C.copy()
    for row, prompt in enumerate(prompts):
        own_K_C = found_N_K_C[row, :, : len(prompt.labels)]
        if prompt.paired:
            pairs_K_P_2 = own_K_C.reshape(len(own_K_C), -1, 2)
            pairs_K_P_2 = pairs_K_P_2 - np.logaddexp.reduce(pairs_K_P_2, axis=2, keepdims=True)
            own_K_C[:] = pairs_K_P_2.reshape(own_K_C.shape) - np.log(pairs_K_P_2.shape[1])
        else:
            own_K_C -= np.logaddexp.reduce(own_K_C, axis=1, keepdims=True)
    return found_N_K_C


def drawing_arguments(writing: Writing, seed: int, sample: int | None, item_id: str) -> dict[str, Any]:
    """Return the arguments of ``SamplingParams`` for the draws of a sample for an item, whatever its batch."""
    return {
        "n": writing.draws,
        "temperature": 1.0,
        "max_tokens": writing.longest,
        "seed": derive_seed(seed, 0, f"answers/{sample}/{item_id}") % _SEEDS,
        "stop_token_ids": sorted(writing.ending.tokens),
        "stop": [writing.ending.text] if writing.ending.text else [],
        "include_stop_str_in_output": True,
        "logprobs": 0,
        "detokenize": bool(writing.ending.text),
    }


def written(token_ids: Sequence[int], log_prob: float | None, writing: Writing) -> Written:
    """Return an answer as the model in this process would have given it.

    Args:
        token_ids: Of vLLM's ``CompletionOutput``, and so is ``log_prob``, its ``cumulative_logprob``.
        log_prob: The logarithm of their probability.
        writing: How answers are drawn.
    """
    tokens = list(token_ids)
    is_over = bool(tokens) and writing.ending.is_over(tokens)
    return Written(tokens, np.nan if log_prob is None else log_prob, np.nan, is_over)


def rank_for(rank: int) -> int:
    """Return the least rank that vLLM takes and an adapter of ``rank`` fits into.

    Raises:
        ModelError: There is none.
    """
    fitting = [each for each in RANKS if each >= rank]
    if not fitting:
        raise ModelError(
            f"vLLM takes adapters up to rank {RANKS[-1]}, and a sample has {rank}. Lower adapter.rank, or set "
            "model.engine: transformers."
        )
    return fitting[0]
