"""Files that are whole or not there: written aside, flushed to disk, then renamed.

A crash at any moment, of the program or of the machine, leaves the old content or the new one under a name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from star_al.errors import StarALError


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """The path of a file to be written in ``folder`` and then published; removed on leaving if it was not."""
    path = folder / f".{uuid4().hex}.tmp"
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """The path of a file to be written, which is published as ``target`` on leaving.

    If the body fails, ``target`` stays as it was and nothing is left beside it.
    """
    with aside(target.parent) as path:
        yield path
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


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
