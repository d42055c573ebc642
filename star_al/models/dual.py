"""Dual numbers x + ε·dx, tensors with a tangent: torch's forward-mode differentiation, with types."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

_forward_ad: Any = torch.autograd.forward_ad  # without types


def level() -> AbstractContextManager[object]:
    """Dual numbers exist within."""
    entered: AbstractContextManager[object] = _forward_ad.dual_level()
    return entered


def make(value: Tensor, tangent: Tensor) -> Tensor:
    """The dual number of a value and its tangent, of one shape."""
    made: Tensor = _forward_ad.make_dual(value, tangent)
    return made


def unpack(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Value and tangent; null where ``x`` is no dual number, which means zero."""
    value, tangent = _forward_ad.unpack_dual(x)
    return value, tangent
