"""The login of the local Label Studio, and the port and version to start it with."""

from __future__ import annotations

import getpass
import json
import re
import secrets
from dataclasses import asdict, dataclass, field

from star_al.errors import AnnotatorError
from star_al.local_server.place import Place, write_private

THIS_MACHINE, ALL_ADDRESSES = "127.0.0.1", "0.0.0.0"
"""What a server listens on: only programs of this machine can reach it, or all that reach this machine."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """How to reach the local Label Studio and log in.

    Attributes:
        url: Its address for this machine.
        host: What it listens on; ``THIS_MACHINE``, ``ALL_ADDRESSES`` or one address.
    """

    url: str
    user: str
    token: str = field(repr=False)
    password: str = field(repr=False)
    host: str = THIS_MACHINE


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the server was started with last time, and will be next time."""

    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    port: int
    version: str
    host: str = THIS_MACHINE
    webhooks: bool = False

    @property
    def server(self) -> LocalServer:
        """The address and the login, without what only the server itself needs."""
        host = THIS_MACHINE if self.host == ALL_ADDRESSES else self.host
        return LocalServer(f"http://{host}:{self.port}", self.user, self.token, self.password, self.host)


def new_credentials(place: Place, port: int, version: str) -> Credentials:
    """Credentials with random secrets, for a new user of the server.

    Label Studio sets a user's token and password only when it creates the user. So if there is a database, which
    may have the usual user, the name gets a random suffix.
    """
    suffix = f"-{secrets.token_hex(2)}" if any(place.data.glob("*.sqlite3")) else ""
    return Credentials(
        user=f"{_user_name()}{suffix}@localhost",
        password=secrets.token_urlsafe(12),
        token=secrets.token_hex(20),
        port=port,
        version=version,
    )


def read_credentials(place: Place) -> Credentials | None:
    """The stored credentials; None if there are none.

    Raises:
        AnnotatorError: The file cannot be read.
    """
    try:
        return Credentials(**json.loads(place.credentials.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise AnnotatorError(
            f"{place.credentials}: cannot be read ({exc.strerror or exc}). Check its permissions."
        ) from exc
    except (ValueError, TypeError):
        raise AnnotatorError(
            f"{place.credentials} is damaged. Delete it; the next start of Label Studio creates another user."
        ) from None


def write_credentials(place: Place, credentials: Credentials) -> None:
    """Store credentials so that only their owner can read them."""
    write_private(place.credentials, json.dumps(asdict(credentials), indent=2) + "\n")


def _user_name() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        name = ""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()) or "annotator"
