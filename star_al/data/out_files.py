"""Files that a command writes: what they must not overwrite, and writing them so that they are always whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from star_al.common.files import disk_errors, replacing
from star_al.errors import DataError, StoreError


def check_out(out: Path, kept: Mapping[str, Path | None]) -> None:
    """Refuse to overwrite files or folders that must stay.

    Args:
        out: The file to be written.
        kept: What must stay, by the words that a message calls it: "the data", "the database".

    Raises:
        DataError: ``out`` is one of ``kept``, or lies in one of them, by whatever path or link.
    """
    for what, path in kept.items():
        if path is not None and _is_in(out, path):
            raise DataError(f"{out}: this is {what}, which would be overwritten. Give another --out.")


def _is_in(out: Path, path: Path) -> bool:
    try:
        target, kept = Path(os.path.realpath(out)), Path(os.path.realpath(path))
        if target == kept or (kept.is_dir() and target.is_relative_to(kept)):
            return True
        return out.exists() and path.exists() and os.path.samefile(out, path)  # hard links
    except (OSError, ValueError):
        return False  # a path that cannot be looked up is refused when it is read or written


def writable_target(path: Path) -> Path:
    """The file that ``path`` leads to, with links followed, so that a rename over it leaves the link in place.

    Raises:
        StoreError: It exists and is not a regular file: a folder, a device.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise StoreError(
                f"{path}: this is not a regular file and cannot be overwritten. Give another name."
            )
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise StoreError(f"{path}: cannot be written ({reason}). Check the path.") from exc
    return target


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is always whole.

    Folders are created, and a link is followed. Half a surrogate pair becomes "?".

    Raises:
        StoreError: The file cannot be written; ``path`` is as it was.
    """
    target = writable_target(path)
    with disk_errors(StoreError, f"{path}: cannot be written", "Give another --out."):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as new:
            new.write_text(text, encoding="utf-8", errors="replace")
