"""Attention on a CPU where it is differentiated: sequence by sequence, its gradient by matrix products.

The gradient of torch's fused kernel takes far longer there, and padding counts in full.
One sequence at a time, the weights of attention stay in the processor's cache, and sequences need not be padded
to one length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from star_al.models.attention_parts import Attention, parts


class SequenceAttention(TorchFunctionMode):
    """Within, attention keeps its value and gets another gradient, the same up to rounding.

    With ``lengths_R`` the sequences lie one after another in one row, and none sees another: each is masked by
    its part of ``mask_R_1_S_S`` (additive) or, without one, causally, whatever mask the model gives.
    """

    def __init__(self, lengths_R: tuple[int, ...] | None = None, mask_R_1_S_S: Tensor | None = None) -> None:
        super().__init__()
        self._lengths_R, self._mask = lengths_R, mask_R_1_S_S

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every torch function comes by here; one is changed."""
        if func is not scaled_dot_product_attention:
            return func(*args, **kwargs or {})
        return self._attention(*args, **kwargs or {})

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Attention as torch computes it, by ``Attention`` where that knows the case."""
        lengths_R = self._lengths_R
        if lengths_R is not None:
            attn_mask, is_causal = self._mask, self._mask is None
        square = query.ndim == 4 and query.shape[-2] == key.shape[-2]
        if dropout_p == 0.0 and square and (attn_mask is None or _is_shared_by_heads(attn_mask)):
            scale = query.shape[-1] ** -0.5 if scale is None else scale
            own: Tensor = Attention.apply(query, key, value, attn_mask, is_causal, scale, lengths_R)  # type: ignore[no-untyped-call]
            return own
        if lengths_R is None:
            return scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        outs = [
            scaled_dot_product_attention(
                query[place],
                key[place],
                value[place],
                own,
                dropout_p,
                own is None,
                scale=scale,
                enable_gqa=enable_gqa,
            )
            for place, own in parts(query, attn_mask, lengths_R)
        ]
        return torch.cat(outs, dim=-2)


def _is_shared_by_heads(mask: Tensor) -> bool:
    """Whether a mask is added to scores, the same for all heads, and nothing that is trained."""
    shared = mask.ndim == 4 and mask.shape[1] == 1
    return shared and mask.is_floating_point() and not mask.requires_grad


class WatchedAttention(SequenceAttention):
    """Says whether its own masks do for a model."""

    _seen, _biased = False, False

    @property
    def replaced(self) -> bool:
        """Whether attention came by here, and no mask held a bias, of distance say, which would be lost."""
        return self._seen and not self._biased

    def _attention(self, *args: Any, **kwargs: Any) -> Tensor:
        self._seen = True
        mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
        if mask is not None and mask.is_floating_point():
            hidden = mask <= torch.finfo(mask.dtype).min / 2
            self._biased |= bool(((mask != 0) & ~hidden).any())
        return super()._attention(*args, **kwargs)


def no_mask(width: int, dtype: torch.dtype) -> Tensor:
    """An additive mask (1, 1, S, S) that hides nothing and takes no memory.

    Given none, a model would make one from positions that start anew.
    """
    return torch.zeros((), dtype=dtype).expand(1, 1, width, width)
