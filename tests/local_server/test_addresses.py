"""Where a server listens, what it may be called, and how colleagues get in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from star_al import local_server
from star_al.cli.main import run_command
from star_al.errors import AnnotatorError
from star_al.local_server import LocalServer, Place
from star_al.local_server.addresses import names_of, outside_address
from star_al.local_server.command import server_command, server_environment
from star_al.local_server.credentials import new_credentials
from star_al.local_server.place import HOME
from support.label_studio_server import free_port
from support.quiet import Quiet

Start = Callable[..., LocalServer]


def test_by_default_only_this_machine_reaches_it(place: Place, start: Start) -> None:
    server = start()
    assert server.host == "127.0.0.1"
    credentials = new_credentials(place, 1, "1")
    assert "127.0.0.1" in server_command(place, credentials)
    environment = server_environment(place, credentials)
    assert environment["LABEL_STUDIO_ALLOWED_HOSTS"] == "127.0.0.1,localhost"
    assert environment["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"


def test_calls_to_this_machine_are_allowed_for_webhooks_only(place: Place) -> None:
    ban = {"LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS", "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"}
    credentials = new_credentials(place, 1, "1")
    assert not ban & server_environment(place, credentials).keys()
    assert ban <= server_environment(place, replace(credentials, webhooks=True)).keys()


def test_all_addresses_and_the_link_for_colleagues(
    place: Place, start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(host="0.0.0.0")
    assert server.host == "0.0.0.0" and server.url.startswith("http://127.0.0.1:")
    outside = outside_address("0.0.0.0")
    assert httpx.get(server.url.replace("127.0.0.1", outside) + "/health", trust_env=False).is_success
    monkeypatch.setenv(HOME, str(place.home))
    assert run_command(["up"]) == 0
    port = server.url.rpartition(":")[2]
    local_server.stop(place, Quiet())
    progress = Quiet()
    assert start(progress=progress).host == "127.0.0.1"
    assert (
        "Only this machine will reach Label Studio; last time it listened on 0.0.0.0 (--host)"
        in progress.said
    )
    shown = capsys.readouterr().out
    assert f"Colleagues join at http://{outside}:{port}/user/signup/?token=abc\n" in shown
    assert "not encrypted" in shown and server.token not in shown


def test_a_running_server_says_what_it_does_not_change(place: Place, start: Start) -> None:
    start()
    progress = Quiet()
    start(progress=progress, port=None, host="0.0.0.0", webhooks=True)
    assert progress.said == [
        "Label Studio is already running; to change its address and webhooks, stop it with --stop first"
    ]
    assert start(port=None).host == "127.0.0.1"


@pytest.mark.parametrize("host", ["", "192.0.2.1", "no such name", "::1", "x" * 300])
def test_an_address_of_another_machine_is_refused(host: str, place: Place) -> None:
    with pytest.raises(AnnotatorError, match=r"cannot listen there.*127\.0\.0\.1"):
        local_server.start(place, Quiet(), host=host, port=free_port())


def test_what_a_server_may_be_called() -> None:
    assert names_of("127.0.0.1") == ["127.0.0.1", "localhost"]
    everywhere = names_of("0.0.0.0")
    assert outside_address("0.0.0.0") in everywhere and socket.gethostname().lower() in everywhere
    assert "0.0.0.0" not in everywhere and "*" not in everywhere
    assert names_of("127.0.0.2")[:3] == ["127.0.0.1", "localhost", "127.0.0.2"]
    assert outside_address("127.0.0.2") == "127.0.0.2"
