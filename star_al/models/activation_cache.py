"""A disk cache of activations, one memory-mapped file for each text, up to a limit."""

from __future__ import annotations

import hashlib
import os
import shutil
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

LEFT_FREE = 2 << 30
"""Bytes of the disk that activations leave to what cannot be computed again as cheaply: adapters, scores, labels."""

_DIGEST = 16  # bytes before the values: their BLAKE2b hash
_KEY = "[0-9a-f]" * 16


class ActivationCache:
    """Tensors by name, all with one dtype and one last axis, in the folder ``root / key``.

    The limit holds for all keys of ``root`` together. When room is short, folders of other keys that no
    process uses are removed. Files of other processes are counted only after each hundredth of the limit, so
    each process may exceed it by that much.

    Args:
        root: Folder of the caches of all models.
        key: 16 hex digits that identify the model and its settings.
        dtype: Data type of the tensors.
        limit: Bytes that all caches in ``root`` may take.
        say: Called once with a message for the user when nothing more can be kept.
    """

    def __init__(
        self, root: Path, key: str, dtype: torch.dtype, limit: int, say: Callable[[str], None]
    ) -> None:
        self._root, self._folder, self._dtype = root, root / key, dtype
        self._limit, self._say = limit, say
        self._room = 0  # bytes that may be written before files are counted again
        self._full = False
        self._checked: set[str] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock_folder()
        except OSError as exc:
            self._stop_writing(f"cannot be written to {self._folder} ({exc})")

    def _lock_folder(self) -> None:
        """Keep other processes from removing the folder as long as this object lives."""
        with suppress(ImportError, OSError):  # a system without such locks, on which nobody removes folders
            import fcntl

            lock = os.open(self._folder, os.O_RDONLY)
            weakref.finalize(self, os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_SH)

    def read(self, name: str, rows: int) -> Tensor | None:
        """Return the tensor of ``rows`` rows under a name, or ``None`` if it is missing or damaged.

        It is a view of the mapped file. The bytes are checked when this process first reads them.
        """
        path = self._folder / f"{name}.bin"
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
        if self._full:
            return
        content = values.cpu().contiguous().view(torch.uint8).reshape(-1)
        size = _DIGEST + content.numel()
        if size > self._room:
            self._room = self._make_room(size)
        if size > self._room:
            limit = f"reach model.trunk_cache_gb = {self._limit / 1e9:g}"
            disk = f"would leave less than {LEFT_FREE / 1e9:.0f} GB free in {self._root}"
            self._stop_writing(limit if self._disk_free() >= size else disk)
            return
        temporary = self._folder / f"{name}.{os.getpid()}.tmp"
        try:
            temporary.write_bytes(_digest(content) + content.numpy().tobytes())
            temporary.replace(self._folder / f"{name}.bin")
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink()
            self._stop_writing(f"cannot be written to {self._folder} ({exc})")
            return
        self._room -= size

    def _make_room(self, size: int) -> int:
        """Return how many bytes may be written before files are counted again; below ``size`` if it does not fit."""
        free = self._free()
        for folder in self._root.glob(_KEY):
            if free >= size:
                break
            _remove_unused(folder)
            free = self._free()
        return min(free, max(size, self._limit // 100))

    def _free(self) -> int:
        """Return how many more bytes the limit and the disk have room for."""
        return min(self._limit - _size_of(self._root), self._disk_free())

    def _disk_free(self) -> int:
        try:
            return shutil.disk_usage(self._root).free - LEFT_FREE
        except OSError:  # writing will say why
            return self._limit

    def _stop_writing(self, reason: str) -> None:
        self._full = True
        self._say(f"Activations of the frozen blocks {reason}; those of further texts are computed each time")


def _size_of(root: Path) -> int:
    """Return the bytes in all folders of ``root``."""
    size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):  # removed by another process in the meantime
                size += os.stat(os.path.join(folder, name)).st_size
    return size


def _remove_unused(folder: Path) -> None:
    """Remove a folder, unless an ``ActivationCache`` uses it."""
    with suppress(ImportError, OSError):
        import fcntl

        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)


def _digest(values: Tensor) -> bytes:
    return hashlib.blake2b(values.numpy().data, digest_size=_DIGEST).digest()
