"""The log-normaliser of a whole vocabulary with its gradient, in one pass over the head and in bounded memory.

Autograd would keep logits of the whole vocabulary, or compute them again for the gradient. The gradient of
log Σ_v exp z_v with respect to the hidden state is Σ_v p_v ∂z_v, a mean that can be summed up on the way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 2**22
"""Entries of the head that are cast to float32 at once: 16 MiB."""


class LogNormaliser(torch.autograd.Function):
    """``apply(hidden_P_d, weight_V_d, bias_V, scale, cap)`` returns log Σ exp of the logits, (P,) float32.

    A logit is scale · (W h + b), squashed to (−cap, cap) by tanh if there is a cap. Only the hidden states get a
    gradient: the head is frozen.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_P_d: Tensor,
        weight_V_d: Tensor,
        bias_V: Tensor | None,
        scale: float,
        cap: float | None,
    ) -> Tensor:
        """See the class."""
        with torch.autocast(hidden_P_d.device.type, enabled=False):
            normalisers_P, gradient_P_d = _read(hidden_P_d.float(), weight_V_d, bias_V, scale, cap)
        ctx.save_for_backward(gradient_P_d.to(hidden_P_d.dtype))
        return normalisers_P

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Scale the gradient that the forward pass found."""
        (gradient_P_d,) = ctx.saved_tensors
        return (cotangents[0][:, None] * gradient_P_d).to(gradient_P_d.dtype), None, None, None, None


def _read(
    hidden_P_d: Tensor, weight_V_d: Tensor, bias_V: Tensor | None, scale: float, cap: float | None
) -> tuple[Tensor, Tensor]:
    """Return the normalisers (P,) and their gradients (P, d)."""
    size = max(1024, _CHUNK_ELEMENTS // hidden_P_d.shape[1])
    highest_P = torch.full((len(hidden_P_d),), -torch.inf, device=hidden_P_d.device)
    total_P, mean_P_d = torch.zeros_like(highest_P), torch.zeros_like(hidden_P_d)
    for start in range(0, len(weight_V_d), size):
        weight_U_d = weight_V_d[start : start + size].float()
        logits_P_U = hidden_P_d @ weight_U_d.T
        if bias_V is not None:
            logits_P_U += bias_V[start : start + size].float()
        logits_P_U *= scale
        if cap is not None:
            logits_P_U = cap * torch.tanh(logits_P_U / cap)
        above_P = torch.maximum(highest_P, logits_P_U.amax(dim=1))
        # What was summed so far is put on the scale of the new highest logit, so that nothing overflows.
        shrink_P = (highest_P - above_P).exp()
        terms_P_U = (logits_P_U - above_P[:, None]).exp()
        total_P = total_P * shrink_P + terms_P_U.sum(dim=1)
        if cap is not None:
            terms_P_U *= 1 - (logits_P_U / cap) ** 2
        mean_P_d = mean_P_d * shrink_P[:, None] + terms_P_U @ weight_U_d
        highest_P = above_P
    return highest_P + total_P.log(), mean_P_d * (scale / total_P)[:, None]
