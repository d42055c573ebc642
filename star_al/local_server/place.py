"""Where a local Label Studio lives on this machine: its folders and files."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from star_al.common import files
from star_al.errors import AnnotatorError

HOME = "STAR_AL_LABEL_STUDIO_HOME"
"""The environment variable that names a folder other than the user's data folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folders and files of one local server; ``environments`` holds one virtual environment per version."""

    home: Path
    environments: Path

    @property
    def data(self) -> Path:
        """Label Studio's own data: its database, its secret key, uploaded files."""
        return self.home / "data"

    @property
    def credentials(self) -> Path:
        """User, password, token, port and version; readable only by their owner."""
        return self.home / "credentials.json"

    @property
    def state(self) -> Path:
        """Which processes run; the file exists only while they do."""
        return self.home / "running.json"

    @property
    def log(self) -> Path:
        """What Label Studio prints."""
        return self.home / "label-studio.log"

    @property
    def lock(self) -> Path:
        """Locked while somebody starts or stops the server."""
        return self.home / "lock"


def default_place() -> Place:
    """The place of this user: ``$STAR_AL_LABEL_STUDIO_HOME``, or a folder in the user's data folder."""
    named = os.environ.get(HOME)
    home = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("star_al")) / "label-studio"
    return Place(home.absolute(), home.absolute() / "environments")


def make_home(place: Place) -> None:
    """Make the folder, inaccessible to other users."""
    with disk_errors(place):
        place.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.home.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner can read.

    Raises:
        OSError: The file cannot be written.
    """
    with files.replacing(path, mode=0o600) as new:
        new.write_text(text, encoding="utf-8")


def disk_errors(place: Place) -> AbstractContextManager[None]:
    """Turn an ``OSError`` (permissions, a full disk) into a clear error.

    Raises:
        AnnotatorError: A file or folder cannot be read or written.
    """
    advice = f"Label Studio needs about 1.5 GB there; set {HOME} to use another folder."
    return files.disk_errors(AnnotatorError, f"{place.home}: cannot be read or written", advice)
