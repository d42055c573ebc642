"""Activations on disk, a memory-mapped file for each text, up to a limit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DIGEST = 16  # bytes before the values, their BLAKE2b hash


class ActivationFiles:
    """A folder of tensors by name, all of one dtype and last axis; what is damaged counts as missing.

    Nothing is kept past ``limit`` bytes, or once the folder cannot be written; ``say`` is told, once.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, limit: int, say: Callable[[str], None]) -> None:
        self._folder, self._dtype, self._limit, self._say = folder, dtype, limit, say
        self._full = False
        self._used = sum(path.stat().st_size for path in folder.glob("*.bin")) if folder.is_dir() else 0

    def read(self, name: str, rows: int) -> Tensor | None:
        """The tensor of ``rows`` rows under a name, null if there is none."""
        try:
            content = np.memmap(self._folder / f"{name}.bin", np.uint8, mode="r")
        except (OSError, ValueError):  # absent, or empty
            return None
        values = content[_DIGEST:]
        if _digest(values) != content[:_DIGEST].tobytes() or values.size % (rows * self._dtype.itemsize):
            return None
        return torch.from_numpy(values.copy()).view(self._dtype).view(rows, -1)

    def write(self, name: str, values: Tensor) -> None:
        """Keep a tensor, if there is room."""
        if self._full:
            return
        content = values.cpu().contiguous().view(torch.uint8).numpy().reshape(-1)
        size = _DIGEST + content.size
        if self._used + size > self._limit:
            self._stop(f"reach model.trunk_cache_gb = {self._limit / 1e9:g}")
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = self._folder / f"{name}.{os.getpid()}.tmp"
            aside.write_bytes(_digest(content) + content.tobytes())
            aside.replace(self._folder / f"{name}.bin")
        except OSError as exc:
            self._stop(f"cannot be written to {self._folder} ({exc})")
            return
        self._used += size

    def _stop(self, reason: str) -> None:
        self._full = True
        self._say(
            f"Activations of the frozen blocks {reason}: those of further texts are computed anew each time"
        )


def _digest(values: Any) -> bytes:
    return hashlib.blake2b(values, digest_size=_DIGEST).digest()
