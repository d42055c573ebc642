"""How much posterior samples disagree about the next token along an answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from star_al.models.readout import Readout
from star_al.models.writing.tokens import all_logits
from star_al.types import Float32Array, FloatArray

_ROWS = 128
"""Places that are compared at once, each with a distribution over the whole vocabulary for one sample."""


@torch.inference_mode()
def token_information(readout: Readout, states_K_P_d: Sequence[Float32Array]) -> FloatArray:
    """Compute H[mean_k p_k] − mean_k H[p_k] of the next token at P places, in nats, (P,).

    ``star_al.acquire.open_answers.token_bald`` is its mean along an answer.

    Args:
        readout: The model's head, which samples have in common.
        states_K_P_d: The hidden states of each sample.
    """
    found: list[Tensor] = []
    states = [torch.as_tensor(rows).to(readout.device, readout.dtype) for rows in states_K_P_d]
    for start in range(0, len(states[0]), _ROWS):
        parts = [rows[start : start + _ROWS] for rows in states]
        mean_Q_V, entropy_Q = None, torch.zeros(len(parts[0]), device=readout.device)
        for part_Q_d in parts:
            log_probs_Q_V = all_logits(readout, part_Q_d).log_softmax(dim=-1)
            probs_Q_V = log_probs_Q_V.exp()
            entropy_Q += _entropy(probs_Q_V, log_probs_Q_V) / len(parts)
            mean_Q_V = probs_Q_V / len(parts) if mean_Q_V is None else mean_Q_V + probs_Q_V / len(parts)
        assert mean_Q_V is not None
        information_Q = (_entropy(mean_Q_V, mean_Q_V.log()) - entropy_Q).clamp_min(0.0)
        # The difference of two equal entropies may be a rounding error above 0, and would then rank items.
        agree_Q = torch.stack([(part == parts[0]).all(dim=1) for part in parts]).all(dim=0)
        found.append(torch.where(agree_Q, 0.0, information_Q))
    information_P: FloatArray = torch.cat(found).double().cpu().numpy()
    return information_P


def _entropy(probs_Q_V: Tensor, log_probs_Q_V: Tensor) -> Tensor:
    # 0 · log 0 = 0
    entropy_Q: Tensor = -torch.linalg.vecdot(
        probs_Q_V, log_probs_Q_V.clamp_min(torch.finfo(torch.float32).min)
    )
    return entropy_Q
