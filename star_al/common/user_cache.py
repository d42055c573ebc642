"""The folder for what can be downloaded or computed again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return ``$STAR_AL_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("STAR_AL_CACHE") or platformdirs.user_cache_dir("star_al")).absolute()
