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


class Portions:
    """Reads batches of about one size, each in as many parts as were needed for the batches before it to fit."""

    def __init__(self) -> None:
        self._parts = 1

    def read(self, read: Callable[[list[T]], Float32Array], batch: list[T], message: str) -> Float32Array:
        """Read a batch.

        Args:
            read: Returns a row for each of its arguments.
            batch: What to read; not empty.
            message: Of the error.

        Raises:
            OutOfMemoryError: Not even a single one fits.
        """
        found: list[Float32Array] = []
        start = 0
        while start < len(batch):
            part = batch[start : start + -(-len(batch) // self._parts)]
            rows = self._try(read, part, message)
            # Not in a handler: the traceback of a failure keeps its activations alive until the handler ends.
            if rows is None:
                self._parts *= 2
            else:
                found.append(rows)
                start += len(part)
        return np.concatenate(found)

    def _try(
        self, read: Callable[[list[T]], Float32Array], part: list[T], message: str
    ) -> Float32Array | None:
        try:
            return read(part)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            if len(part) == 1:
                raise OutOfMemoryError(message) from exc
        return None
