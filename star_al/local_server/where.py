"""Where a local Label Studio lives on this machine, and the secrets that belong to it."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import platformdirs

from star_al.errors import AnnotatorError

HOME = "STAR_AL_LABEL_STUDIO_HOME"
"""The environment variable that names another folder than the user's data folder."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """How to reach the local Label Studio and log in."""

    url: str
    user: str
    token: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """The folders and files of one local server; ``environments`` holds a virtual environment a version."""

    home: Path
    environments: Path

    @property
    def data(self) -> Path:
        """What Label Studio keeps: its database, its secret key, uploaded files."""
        return self.home / "data"

    @property
    def credentials(self) -> Path:
        """User, password, token and the choices of the last start; for its owner's eyes only."""
        return self.home / "credentials.json"

    @property
    def state(self) -> Path:
        """Which processes run; there only while they do."""
        return self.home / "running.json"

    @property
    def log(self) -> Path:
        """What Label Studio prints."""
        return self.home / "label-studio.log"

    @property
    def lock(self) -> Path:
        """Held while somebody starts or stops the server."""
        return self.home / "lock"


def default_place() -> Place:
    """The place of this user: ``$STAR_AL_LABEL_STUDIO_HOME``, or a folder among the user's data."""
    named = os.environ.get(HOME)
    home = Path(named).expanduser() if named else Path(platformdirs.user_data_dir("star_al")) / "label-studio"
    return Place(home.absolute(), home.absolute() / "environments")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the server was started with the last time, and will be the next time."""

    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    port: int
    version: str

    @property
    def server(self) -> LocalServer:
        """As others need it."""
        return LocalServer(f"http://127.0.0.1:{self.port}", self.user, self.token, self.password)


def new_credentials(place: Place, port: int, version: str) -> Credentials:
    """A user with random secrets; a second one where Label Studio's database may hold the first.

    Label Studio gives a user its token and password once, when it makes the user.
    """
    known = any(place.data.glob("*.sqlite3"))
    number = f"-{secrets.token_hex(2)}" if known else ""
    return Credentials(
        user=f"{_user_name()}{number}@localhost",
        password=secrets.token_urlsafe(12),
        token=secrets.token_hex(20),
        port=port,
        version=version,
    )


def _user_name() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        name = ""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()) or "annotator"


def read_credentials(place: Place) -> Credentials | None:
    """The stored credentials; null where there are none.

    Raises:
        AnnotatorError: the file cannot be read.
    """
    try:
        return Credentials(**json.loads(place.credentials.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise AnnotatorError(f"{place.credentials}: cannot be read ({exc.strerror or exc}).") from exc
    except (ValueError, TypeError):
        raise AnnotatorError(
            f"{place.credentials} is damaged. Delete it: the next start of Label Studio makes another user."
        ) from None


def write_credentials(place: Place, credentials: Credentials) -> None:
    """Store them, readable by their owner only."""
    write_private(place.credentials, json.dumps(asdict(credentials), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner may read.

    Raises:
        OSError: it cannot be written.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def make_home(place: Place) -> None:
    """Make the folder, closed to others."""
    with told_of_disk(place):
        place.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.home.chmod(0o700)


@contextmanager
def told_of_disk(place: Place) -> Iterator[None]:
    """Turn a file that cannot be written (rights, a full disk) into a clear error."""
    try:
        yield
    except OSError as exc:
        raise AnnotatorError(
            f"{exc.filename or place.home}: {exc.strerror or exc}. Label Studio needs about 1.5 GB in "
            f"{place.home}; {HOME} names another folder."
        ) from exc
