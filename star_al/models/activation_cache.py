"""A disk cache of activations, one memory-mapped file for each text, up to a limit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from star_al.models.limited_folder import LimitedFolder

_DIGEST = 16  # bytes before the values: their BLAKE2b hash


class CachePlace(NamedTuple):
    """Where a cache lies, by which another process opens it; see ``ActivationCache``."""

    root: Path
    key: str
    dtype: torch.dtype
    limit: int


class ActivationCache:
    """Tensors by name, all with one dtype and one last axis, in the folder ``root / key`` (see ``LimitedFolder``).

    Args:
        root: Folder of the caches of all models.
        key: 16 hex digits that identify the model and its settings.
        dtype: Data type of the tensors.
        limit: Bytes that all caches in ``root`` may take.
        say: Called once with a message for the user when nothing more can be kept.

    Attributes:
        place: Where it lies.
    """

    def __init__(
        self, root: Path, key: str, dtype: torch.dtype, limit: int, say: Callable[[str], None]
    ) -> None:
        self._folder = LimitedFolder(
            root,
            key,
            limit,
            setting="model.trunk_cache_gb",
            what="Activations of the frozen blocks",
            say=say,
        )
        self.place = CachePlace(root, key, dtype, limit)
        self._dtype = dtype
        self._checked: set[str] = set()

    def read(self, name: str, rows: int) -> Tensor | None:
        """Return the tensor of ``rows`` rows under a name, or ``None`` if it is missing or damaged.

        It is a view of the mapped file. The bytes are checked when this process first reads them.
        """
        path = self._folder.path / f"{name}.bin"
        try:  # not numpy.memmap, which holds a file descriptor: a minibatch may have thousands of texts
            size = path.stat().st_size
            content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        except (OSError, RuntimeError):
            return None
        values = content[_DIGEST:]
        if name not in self._checked and _digest(values) != content[:_DIGEST].numpy().tobytes():
            return None
        if values.numel() % (rows * self._dtype.itemsize):
            return None
        self._checked.add(name)
        return values.view(self._dtype).view(rows, -1)

    def write(self, name: str, values: Tensor) -> None:
        """Keep a tensor if there is room."""
        if self._folder.full:  # spare the copy
            return
        content = values.cpu().contiguous().view(torch.uint8).reshape(-1)
        size = _DIGEST + content.numel()
        if not self._folder.has_room(size):
            return
        temporary = self._folder.path / f"{name}.{os.getpid()}.tmp"
        try:
            temporary.write_bytes(_digest(content) + content.numpy().tobytes())
            temporary.replace(self._folder.path / f"{name}.bin")
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink()
            self._folder.give_up(exc)
            return
        self._folder.wrote(size)


def _digest(values: Tensor) -> bytes:
    return hashlib.blake2b(values.numpy().data, digest_size=_DIGEST).digest()
