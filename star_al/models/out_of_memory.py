"""Running out of memory: recognise what libraries raise, and raise one error of ours instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from star_al.errors import OutOfMemoryError
from star_al.types import Float32Array

T = TypeVar("T")

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


def in_halves(read: Callable[[list[T]], Float32Array], batch: list[T], message: str) -> Float32Array:
    """Read a batch at once, or half by half if it does not fit into memory.

    Args:
        read: Returns a row for each of its arguments.
        batch: What to read.
        message: Of the error.

    Raises:
        OutOfMemoryError: Not even a single one fits.
    """
    try:
        return read(batch)
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        if len(batch) == 1:
            raise OutOfMemoryError(message) from exc
    # Not in the handler: the traceback keeps the activations alive until it ends.
    half = len(batch) // 2
    return np.concatenate([in_halves(read, batch[:half], message), in_halves(read, batch[half:], message)])
