"""Folders of what can be computed again, one for each key, with a limit on the disk that they take together."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LEFT_FREE = 2 << 30
"""Bytes of the disk that are left to what cannot be computed again as cheaply: adapters, scores, labels."""

_KEY = "[0-9a-f]" * 16


class LimitedFolder:
    """The folder ``root / key``; the limit holds for all keys of ``root`` together.

    When room is short, folders of other keys that no process uses are removed. Files of other processes are
    counted only after each hundredth of the limit, so each process may exceed it by that much.

    Args:
        root: Holds the folders of all keys.
        key: 16 hex digits.
        limit: Bytes that all folders in ``root`` may take.
        setting: The setting of the limit, in GB.
        what: What is kept, as the subject of a sentence.
        say: Called once with a message for the user when nothing more can be kept.

    Attributes:
        path: The folder, which exists unless it cannot be written.
        full: True once nothing more can be kept.
    """

    def __init__(
        self, root: Path, key: str, limit: int, *, setting: str, what: str, say: Callable[[str], None]
    ) -> None:
        self.path, self.full = root / key, False
        self._root, self._limit, self._setting, self._what, self._say = root, limit, setting, what, say
        self._room = 0  # bytes that may be written before files are counted again
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
        except OSError as exc:
            self.give_up(exc)

    def _lock(self) -> None:
        """Keep other processes from removing the folder as long as this object lives."""
        with suppress(ImportError, OSError):  # a system without such locks, on which nobody removes folders
            import fcntl

            lock = os.open(self.path, os.O_RDONLY)
            weakref.finalize(self, os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_SH)

    def has_room(self, size: int) -> bool:
        """Return whether ``size`` more bytes may be written; tells the user if they are the first that may not."""
        if self.full:
            return False
        if size > self._room:
            self._room = self._make_room(size)
        if size > self._room:
            limit = f"reach {self._setting} = {self._limit / 1e9:g}"
            disk = f"would leave less than {LEFT_FREE / 1e9:.0f} GB free in {self._root}"
            self._stop(limit if self._disk_free() >= size else disk)
            return False
        return True

    def wrote(self, size: int) -> None:
        """Count bytes that were written after ``has_room``."""
        self._room -= size

    def give_up(self, exc: OSError) -> None:
        """Keep nothing more, because the folder cannot be written."""
        self._stop(f"cannot be written to {self.path} ({exc})")

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

    def _stop(self, reason: str) -> None:
        if not self.full:
            self.full = True
            self._say(f"{self._what} {reason}; those of further texts are computed each time")


def _size_of(root: Path) -> int:
    """Return the bytes in all folders of ``root``."""
    size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):  # removed by another process in the meantime
                size += os.stat(os.path.join(folder, name)).st_size
    return size


def _remove_unused(folder: Path) -> None:
    """Remove a folder, unless a ``LimitedFolder`` uses it."""
    with suppress(ImportError, OSError):
        import fcntl

        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)
