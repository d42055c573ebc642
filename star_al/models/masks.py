"""Additive attention masks."""

from __future__ import annotations

import torch
from torch import Tensor


def additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask of 0 where a token sees another and the lowest finite number elsewhere, of the same shape."""
    # Not −inf: a row in which nothing is visible would become NaN in the softmax.
    lowest = torch.finfo(dtype).min
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, lowest)


def no_mask(width: int, dtype: torch.dtype) -> Tensor:
    """Return a mask (1, 1, S, S) that hides nothing and takes no memory.

    Without any mask, a model would derive one from position ids that start again at 0.
    """
    return torch.zeros((), dtype=dtype).expand(1, 1, width, width)
