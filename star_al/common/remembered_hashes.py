"""Hashes of large files that are computed once, and again when a file has changed.

A file counts as unchanged while its size, inode, and times of modification and change are the same. Writing to a
file changes its time of change, which no program can set back, so a file that was replaced with its old time of
modification is noticed, too.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from star_al.common.files import replacing, sha256_of
from star_al.common.user_cache import cache_folder

SMALLEST_BYTES = 4 << 20
"""Smaller files are hashed each time, which is as fast as looking them up."""

SETTLED_SECONDS = 3.0
"""A file that was changed more recently is not remembered: within the clock's step it could change again unseen."""

KEPT = 1000
"""Files that are remembered, those hashed last."""


def remembered_sha256(path: Path) -> str:
    """The SHA-256 of a file, from an earlier computation where the file is unchanged.

    Raises:
        OSError: The file cannot be read.
    """
    before = path.stat()
    if before.st_size < SMALLEST_BYTES:
        return sha256_of(path)
    name, state = str(path.resolve()), _state(before)
    remembered = _remembered().get(name)
    if isinstance(remembered, list) and remembered[:1] == [state] and isinstance(remembered[-1], str):
        return remembered[-1]
    sha256 = sha256_of(path)
    settled = time.time() - max(before.st_mtime, before.st_ctime) > SETTLED_SECONDS
    if settled and _state(path.stat()) == state:
        _remember(name, [state, sha256])
    return sha256


def _state(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _remembered() -> dict[str, object]:
    try:
        known = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(name: str, entry: list[object]) -> None:
    known = _remembered()
    known.pop(name, None)
    known[name] = entry
    with suppress(OSError):  # without it the next start is slower, no more
        _path().parent.mkdir(parents=True, exist_ok=True)
        with replacing(_path()) as new:
            new.write_text(json.dumps(dict(list(known.items())[-KEPT:])), encoding="utf-8")


def _path() -> Path:
    return cache_folder() / "hashes.json"
