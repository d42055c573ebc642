"""Attention of a step: several answers of a row read keys and values that heads share, without copies of these.

Where fewer heads have keys than queries (grouped queries, Ainslie et al. 2023), transformers copies keys and values for
each of the heads that share them as soon as a row has several tokens and a mask. While answers are written this moves
more memory than all else in a step. Here the queries of heads that share keys lie behind one another instead, as if
they were more tokens, and nothing is copied.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

_LEAVES_HEADS = "TRANSFORMERS_SDPA_FORCE_GQA"
"""With this environment variable, transformers gives torch the keys as they are, which it otherwise does on some
devices alone. A version that does not know it copies them, and our attention then has nothing to do."""


@contextmanager
def grouped_attention(device: torch.device) -> Iterator[None]:
    """Within, steps on a CPU do not copy keys and values for the heads that share them; values equal up to rounding."""
    if device.type != "cpu":
        yield
        return
    before = os.environ.get(_LEAVES_HEADS)
    os.environ[_LEAVES_HEADS] = "1"
    try:
        with _GroupedQueries():
            yield
    finally:
        if before is None:
            del os.environ[_LEAVES_HEADS]
        else:
            os.environ[_LEAVES_HEADS] = before


class _GroupedQueries(TorchFunctionMode):
    """Replaces torch's attention where it has fewer keys than queries, and one mask for all heads."""

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
        return _attention(*args, **kwargs or {})


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    rows, heads, tokens, size = query.shape
    kept = key.shape[1]
    shared = attn_mask is not None and attn_mask.ndim == 4 and attn_mask.shape[1] == 1
    if kept == heads or not shared or is_causal or value.shape[1] != kept:
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    assert attn_mask is not None
    grouped = query.reshape(rows, kept, heads // kept * tokens, size)
    mask = attn_mask.repeat(1, 1, heads // kept, 1)
    out = scaled_dot_product_attention(grouped, key, value, mask, dropout_p, scale=scale)
    return out.reshape(rows, heads, tokens, -1)
