"""The login of the local server: secret, checked at each start, and replaced when it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from star_al import local_server
from star_al.common.process_identity import ProcessIdentity
from star_al.errors import AnnotatorError
from star_al.local_server.credentials import read_credentials, write_credentials
from support.label_studio_server import DATABASE, LabelStudio, fresh_place, start_server
from support.quiet import Quiet


def test_secrets_stay_with_their_owner(label_studio: LabelStudio) -> None:
    place = label_studio.place
    assert place.home.stat().st_mode & 0o777 == 0o700
    files = [path for path in place.home.rglob("*") if path.is_file()]
    readable = {path.name for path in files if path.stat().st_mode & 0o077}
    assert not readable & {"credentials.json", "running.json", "label-studio.log", ".env"}
    commands = " ".join(
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    )
    assert str(place.home) in commands
    server = local_server.running(place)
    assert server is not None
    for secret in (server.token, server.password):
        assert secret not in commands
        assert secret not in place.log.read_text()
        assert secret not in repr(server) + repr(read_credentials(place))


def test_a_token_that_is_not_accepted_is_told(label_studio: LabelStudio) -> None:
    place = label_studio.place
    stored = read_credentials(place)
    assert stored is not None
    write_credentials(place, replace(stored, token="0" * 40))
    try:
        with pytest.raises(AnnotatorError, match="does not accept the token") as caught:
            local_server.start(place, Quiet())
    finally:
        write_credentials(place, stored)
    assert "0" * 40 not in str(caught.value)
    assert local_server.start(place, Quiet()).token == label_studio.token


def test_legacy_tokens_that_are_not_allowed_are_told(label_studio: LabelStudio) -> None:
    with (
        label_studio.without_legacy_tokens(),
        pytest.raises(AnnotatorError, match=r"allow them under Organization → API Tokens"),
    ):
        local_server.start(label_studio.place, Quiet())


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LabelStudio]:
    server = start_server(tmp_path / "home")
    yield server
    server.stop()


def test_lost_credentials_make_another_user_beside_the_first(own_server: LabelStudio) -> None:
    first = own_server.user
    own_server.call("post", "/api/projects", json={"title": "kept"})
    own_server.stop()
    own_server.place.credentials.unlink()
    own_server.start()
    assert own_server.user != first
    assert [project["title"] for project in own_server.call("get", "/api/projects")["results"]] == ["kept"]


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    place = fresh_place(tmp_path / "home")
    (place.data / DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(AnnotatorError, match=r"(?s)ended while it was starting.*not a database"):
        local_server.start(place, Quiet(), owner=ProcessIdentity.of())
    assert local_server.running(place) is None
