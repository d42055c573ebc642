"""Choose the next token: the likeliest one, or the one that a keyed uniform picks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from star_al.models.readout import Readout, exact_products
from star_al.rng import derive_seed, keyed_uniform

Uniform: TypeAlias = Callable[[str, int, int], float]
"""Gives a number from [0, 1) for an item, the number of a draw and a step."""

ROWS, LEAST_ROWS = 16, 64
"""Steps read a multiple of the first of these rows, and no fewer than the second.

Matrix products of such shapes give a row the same bits whatever else is in them, on the CPUs that were tried; those of
fewer rows add in another order. So a draw does not depend on its batch."""

_BLOCK = 256
"""Tokens whose probabilities are added up together: finding a token among blocks first saves most of the sums."""

_LOGITS_AT_ONCE = 2**23  # float32: 32 MiB
_CAST_ELEMENTS = 2**20  # entries of the head that are cast together: 4 MiB, which stay in a CPU's cache


@dataclass(frozen=True)
class Chosen:
    """The next tokens of S answers.

    Attributes:
        tokens_S: The tokens.
        log_probs_S: Their log-probabilities.
        entropies_S: Entropies of the distributions they come from, in nats.
    """

    tokens_S: list[int]
    log_probs_S: list[float]
    entropies_S: list[float]


def keyed_uniforms(seed: int, sample: int | None) -> Uniform:
    """Return the random numbers of a sample's answers: functions of seed, sample, item, draw and step alone."""

    def uniform(item_id: str, draw: int, step: int) -> float:
        key = keys.get(draw)
        if key is None:
            key = keys[draw] = derive_seed(seed, draw, f"answers/{sample}")
        return keyed_uniform(key, f"{item_id}/{step}")

    keys: dict[int, int] = {}
    return uniform


def padded_rows(n: int) -> int:
    """Return how many rows a step of n tokens has, empty ones included."""
    return max(LEAST_ROWS, -(-n // ROWS) * ROWS)


def choose_tokens(
    readout: Readout, hidden_S_d: Tensor, uniforms_S: Sequence[float] | None, *, with_entropy: bool
) -> Chosen:
    """Choose a token after each hidden state.

    Args:
        readout: The model.
        hidden_S_d: Hidden states.
        uniforms_S: A number from [0, 1) for each, which picks the token; ``None`` for the likeliest.
        with_entropy: Compute entropies; without, they are NaN.
    """
    size = max(LEAST_ROWS, _LOGITS_AT_ONCE // readout.head.weight.shape[0] // ROWS * ROWS)
    tokens: list[int] = []
    log_probs: list[float] = []
    entropies: list[float] = []
    for start in range(0, len(hidden_S_d), size):
        part_Q_d = hidden_S_d[start : start + size]
        n = len(part_Q_d)
        filled_Q_d = torch.cat([part_Q_d, part_Q_d[-1:].expand(padded_rows(n) - n, -1)])
        logits_Q_V = all_logits(readout, filled_Q_d)[:n]
        probs_Q_V = logits_Q_V.softmax(dim=-1)
        if uniforms_S is None:
            tokens_Q = logits_Q_V.argmax(dim=-1)
        else:
            own = torch.tensor(uniforms_S[start : start + size], dtype=torch.float64, device=probs_Q_V.device)
            tokens_Q = draw_tokens(probs_Q_V, own)
        log_probs_Q = probs_Q_V.gather(1, tokens_Q[:, None])[:, 0].log()
        entropies_Q = torch.full_like(log_probs_Q, torch.nan)
        if with_entropy:
            # Σ −p log p = log Z − Σ p·logit; a logit of −inf has no probability.
            finite_Q_V = logits_Q_V.clamp_min(torch.finfo(torch.float32).min)
            top_Q = logits_Q_V.gather(1, tokens_Q[:, None])[:, 0] - log_probs_Q
            entropies_Q = (top_Q - torch.linalg.vecdot(probs_Q_V, finite_Q_V)).clamp_min(0.0)
        tokens += tokens_Q.tolist()
        log_probs += log_probs_Q.tolist()
        entropies += entropies_Q.tolist()
    return Chosen(tokens, log_probs, entropies)


def draw_tokens(probs_S_V: Tensor, uniforms_S: Tensor) -> Tensor:
    """Return by inverse CDF the first token v with Σ_{w ≤ v} p_w > u·Σ p, (S,)."""
    rows, vocabulary = probs_S_V.shape
    blocks_S_B_W = torch.nn.functional.pad(probs_S_V, (0, -vocabulary % _BLOCK)).view(rows, -1, _BLOCK)
    upto_S_B = blocks_S_B_W.sum(dim=-1).double().cumsum(dim=-1)
    target_S_1 = (uniforms_S * upto_S_B[:, -1])[:, None]
    block_S_1 = torch.searchsorted(upto_S_B, target_S_1, right=True).clamp_max(upto_S_B.shape[1] - 1)
    before_S_1 = torch.where(block_S_1 > 0, upto_S_B.gather(1, (block_S_1 - 1).clamp_min(0)), 0.0)
    own_S_W = blocks_S_B_W[torch.arange(rows, device=block_S_1.device), block_S_1[:, 0]]
    within_S_W = own_S_W.double().cumsum(dim=-1)
    place_S_1 = torch.searchsorted(within_S_W, target_S_1 - before_S_1, right=True)
    # Rounding may leave the target beyond the block's own sum: its last token with a probability then.
    ranks_W = torch.arange(_BLOCK, device=own_S_W.device)
    last_S_1 = torch.where(own_S_W > 0, ranks_W, 0).amax(dim=1, keepdim=True)
    return (block_S_1 * _BLOCK + torch.minimum(place_S_1, last_S_1))[:, 0]


def all_logits(readout: Readout, hidden_P_d: Tensor) -> Tensor:
    """Return the logits of the whole vocabulary, (P, V) float32."""
    weight = readout.head.weight
    size = weight.shape[0]
    if hidden_P_d.device.type == "cpu" and weight.dtype != torch.float32:
        size = max(128, _CAST_ELEMENTS // weight.shape[1])
    starts = range(0, weight.shape[0], size)
    with exact_products(readout, hidden_P_d):
        parts = [readout.logits(hidden_P_d, slice(at, min(at + size, weight.shape[0]))) for at in starts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
