"""Files that are whole or not there: written aside, flushed to disk, then renamed.

A crash at any moment, of the program or of the machine, leaves the old content or the new one under a name. A
file that replaces another keeps its permissions: what only its owner could read stays private.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from star_al.errors import StarALError


@contextmanager
def aside(folder: Path, *, private: bool = False) -> Iterator[Path]:
    """The path of a file to be written in ``folder`` and then published; removed on leaving if it was not.

    With ``private`` the file exists, empty, and only its owner can read it.
    """
    path = folder / f".{uuid4().hex}.tmp"
    try:
        if private:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path, mode: int | None = None) -> Iterator[Path]:
    """The path of a file to be written, which is published as ``target`` on leaving.

    If the body fails, ``target`` stays as it was and nothing is left beside it. While the file is written, only
    its owner can read it, unless it will be a new file with the usual permissions.

    Args:
        target: The file to write or replace.
        mode: Its permissions; None keeps those of a file that is replaced, and gives a new one the usual ones.
    """
    mode = _mode_of(target) if mode is None else mode
    with aside(target.parent, private=mode is not None) as path:
        yield path
        if mode is not None:
            path.chmod(mode)
        publish(path, target)


def publish(written: Path, target: Path) -> None:
    """Rename a finished file or folder to ``target``; all of it is on disk before and after the rename.

    Raises:
        OSError: It cannot be flushed or renamed.
    """
    for path in (*written.rglob("*"), written):
        _flush(path)
    written.replace(target)
    _flush(target.parent)


@contextmanager
def disk_errors(
    error: type[StarALError], what: str, advice: str, *, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn an ``OSError`` of the body (rights, a full disk) into one line for the user.

    Args:
        error: The kind of error to raise.
        what: What failed, such as a path with "cannot be written".
        advice: What to do, in whole sentences.
        also: Further errors to turn, of libraries that have their own for a disk.

    Raises:
        StarALError: Of kind ``error``, if the body raises an ``OSError`` or one of ``also``.
    """
    turned: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except turned as exc:
        raise error(f"{what} ({getattr(exc, 'strerror', None) or exc}). {advice}") from exc


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mode_of(path: Path) -> int | None:
    """The permissions of a regular file; None if there is none."""
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        return None
    return stat.S_IMODE(found) if stat.S_ISREG(found) else None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
