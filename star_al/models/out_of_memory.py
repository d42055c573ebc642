"""Running out of memory: recognise what libraries raise, and raise one error of ours instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from star_al.errors import OutOfMemoryError

_MESSAGES = ("out of memory", "DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether an exception means that an allocation failed."""
    if isinstance(exc, (torch.OutOfMemoryError, MemoryError)):
        return True
    # torch has a type for CUDA only: the CPU allocator and cuBLAS raise a plain RuntimeError.
    return isinstance(exc, RuntimeError) and any(words in str(exc) for words in _MESSAGES)


@contextmanager
def translate_out_of_memory(message: str) -> Iterator[None]:
    """Raise an ``OutOfMemoryError`` with this message if memory runs out within.

    Raises:
        OutOfMemoryError: An allocation failed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise OutOfMemoryError(message) from exc
