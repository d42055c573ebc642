"""Running out of memory: what libraries raise then, and the one error of ours that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from star_al.errors import OutOfMemoryError

_SAID = ("out of memory", "DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")


def ran_out(exc: BaseException) -> bool:
    """Whether an allocation failed. torch has a type for that on CUDA; the CPU and cuBLAS only say so."""
    typed = isinstance(exc, (torch.OutOfMemoryError, MemoryError))
    return typed or (isinstance(exc, RuntimeError) and any(words in str(exc) for words in _SAID))


@contextmanager
def told(message: str) -> Iterator[None]:
    """Running out of memory within is an ``OutOfMemoryError`` with this message."""
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not ran_out(exc):
            raise
        raise OutOfMemoryError(message) from exc
