from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from star_al import local_server
from star_al.common.process_identity import ProcessIdentity
from star_al.local_server import LocalServer, Place
from support.label_studio_server import free_port
from support.quiet import Quiet
from support.stand_in_server import stand_in_place

Start = Callable[..., LocalServer]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A stand-in is installed here, and nothing runs yet; whatever a test starts here ends with it."""
    place = stand_in_place(tmp_path)
    yield place
    local_server.stop(place, Quiet())


@pytest.fixture
def start(place: Place) -> Start:
    """Start a server in ``place``, on a free port when none is named."""

    def start(**arguments: Any) -> LocalServer:
        defaults: dict[str, Any] = {"owner": ProcessIdentity.of(), "port": free_port()}
        return local_server.start(place, arguments.pop("progress", Quiet()), **defaults | arguments)

    return start
