"""Attention that trains fast on a CPU: sequence by sequence, with a gradient of our own.

torch's fused CPU kernel has a slow gradient, and it computes padding in full. Handled one sequence at a time,
the attention weights stay in the processor's cache, and sequences need not be padded to a common length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from star_al.models.recomputed_attention import RecomputedAttention, sequence_parts


class SequenceAttention(TorchFunctionMode):
    """Within this context, torch's attention returns the same values and gets another gradient, equal up to rounding.

    A mode that intercepts the torch function reaches every transformers model, whatever class its attention
    has.

    Args:
        lengths_R: Lengths of sequences that lie one after another in a single row (see ``minibatch.join``).
            None of them sees another, whatever mask the model passes.
        mask_R_1_S_S: Additive mask of each of these sequences; ``None`` for causal attention. Unused without
            ``lengths_R``.
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
        """Replace attention; call every other torch function unchanged."""
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
        """Take the arguments of torch's function; leave cases that ``RecomputedAttention`` does not know to torch."""
        lengths_R = self._lengths_R
        if lengths_R is not None:
            # The model's own mask is for one long sequence: it would let joined sequences see each other.
            attn_mask, is_causal = self._mask, self._mask is None
        # Everything else is torch's: dropout of attention weights, a mask for each head, keys from a cache.
        square = query.ndim == 4 and query.shape[-2] == key.shape[-2]
        if dropout_p == 0.0 and square and (attn_mask is None or _is_shared_by_heads(attn_mask)):
            scale = query.shape[-1] ** -0.5 if scale is None else scale
            out: Tensor = RecomputedAttention.apply(  # type: ignore[no-untyped-call]
                query, key, value, attn_mask, is_causal, scale, lengths_R
            )
            return out
        if lengths_R is None:
            return scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        outs = [
            scaled_dot_product_attention(
                place(query),
                place(key),
                place(value),
                mask,
                dropout_p,
                mask is None,
                scale=scale,
                enable_gqa=enable_gqa,
            )
            for place, mask in sequence_parts(query, attn_mask, lengths_R)
        ]
        # (n, heads, tokens, d) of n sequences each → one row of all tokens.
        return torch.cat([out.transpose(0, 1).flatten(1, 2) for out in outs], dim=1)[None]


def _is_shared_by_heads(mask: Tensor) -> bool:
    """Return whether a mask is added to the scores, is the same for all heads, and is not trained."""
    shared = mask.ndim == 4 and mask.shape[1] == 1
    return shared and mask.is_floating_point() and not mask.requires_grad


class WatchedAttention(SequenceAttention):
    """Find out whether a model's attention can be replaced for joined sequences."""

    _seen, _biased = False, False

    @property
    def replaced(self) -> bool:
        """True if the model used torch's attention function, with masks that only hide.

        A mask with other values, such as ALiBi's bias by distance, would be lost when ours takes its place.
        """
        return self._seen and not self._biased

    def _attention(self, *args: Any, **kwargs: Any) -> Tensor:
        self._seen = True
        mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
        if mask is not None and mask.is_floating_point():
            hidden = mask <= torch.finfo(mask.dtype).min / 2
            self._biased |= bool(((mask != 0) & ~hidden).any())
        return super()._attention(*args, **kwargs)
