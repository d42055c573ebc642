"""Tokens of both kinds, and clear words for what does not work."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from star_al.annotators.label_studio.annotator import LabelStudioAnnotator
from star_al.annotators.label_studio.client import Client, Connection, examine
from star_al.config.spec import LabelStudioSpec
from star_al.errors import AnnotatorError, AwayError
from star_al.task import make_task
from star_al.types import Campaign
from support.fault_proxy import FaultProxy
from support.label_studio_campaign import CLASSES, World, ours, queries
from support.label_studio_server import LabelStudio, free_port


def _fails(url: str, token: str) -> str:
    with pytest.raises(AnnotatorError) as caught:
        examine(Connection(url, token, 5.0))
    assert token not in str(caught.value) or not token.strip()
    return str(caught.value)


def test_both_kinds_of_token_work(label_studio: LabelStudio) -> None:
    for kind, token in (("legacy", label_studio.token), ("personal", label_studio.personal_token())):
        report = examine(Connection(label_studio.url + "/", token, 20.0))
        assert (report.token, report.user) == (kind, label_studio.user)
        assert report.version.startswith("1.")
        world = World(label_studio)
        world.token = token
        world.restart()
        world.ensure(queries(2))
        assert world.keys() == ["q-000", "q-001"]


def test_a_personal_token_is_exchanged_again_when_the_short_one_expires(label_studio: LabelStudio) -> None:
    client = Client(Connection(label_studio.url, label_studio.personal_token(), 20.0))
    client.get("api/current-user/whoami")
    assert client._access_token is not None
    header, payload, _ = client._access_token.split(".")
    client._access_token = f"{header}.{payload}.expired"  # as the server sees it when clocks differ
    assert client.get("api/current-user/whoami").json["email"] == label_studio.user


def test_wrong_tokens_are_told_apart(label_studio: LabelStudio) -> None:
    personal = label_studio.personal_token()
    label_studio.call("post", "/api/token/blacklist/", json={"refresh": personal})
    assert "legacy token" in _fails(label_studio.url, "0" * 40)
    assert "personal access token" in _fails(label_studio.url, personal)
    assert "personal access token" in _fails(label_studio.url, "eyJhbGciOiJub25lIn0.e30.x")
    for nonsense in ("", "two words", "line\nbreak", "smart “quotes”"):
        assert "the token is empty or has characters" in _fails(label_studio.url, nonsense)


def test_disabled_legacy_tokens_are_named(label_studio: LabelStudio) -> None:
    with label_studio.without_legacy_tokens():
        words = _fails(label_studio.url, label_studio.token)
    assert "does not allow" in words and "personal access token" in words


def test_nobody_there(label_studio: LabelStudio) -> None:
    assert "cannot be reached" in _fails(f"http://127.0.0.1:{free_port()}", "0" * 40)


@pytest.fixture
def stranger() -> Iterator[tuple[str, list[str], dict[str, tuple[int, str]]]]:
    """A web server that is no Label Studio; what it was asked with, and what it says."""
    tokens: list[str] = []
    pages: dict[str, tuple[int, str]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("Authorization", ""))
            status, body = pages.get(self.path, pages.get("*", (200, "<html>Welcome</html>")))
            self.send_response(status)
            if status == 301:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", tokens, pages
        server.shutdown()
        thread.join()


def test_a_stranger_is_recognised_before_it_sees_the_token(
    stranger: tuple[str, list[str], dict[str, tuple[int, str]]],
) -> None:
    url, tokens, pages = stranger
    assert "is not a Label Studio" in _fails(url, "a" * 40)
    pages["/api/version"] = (200, '{"release": "1.4.1"}')
    assert "is Label Studio 1.4.1" in _fails(url, "a" * 40)
    pages["/api/version"] = (301, "https://example.org/api/version")
    assert "redirects to https://example.org" in _fails(url, "a" * 40)
    for release in ('["a"]', '"newest"', "1.23"):
        pages["/api/version"] = (200, f'{{"release": {release}}}')
        assert "is not a Label Studio" in _fails(url, "a" * 40)
    assert set(tokens) == {""}


@pytest.mark.parametrize("body", ['{"hello": 1}', "{}", '["x"]', "null", '"x"'])
def test_json_of_another_shape_is_told(
    stranger: tuple[str, list[str], dict[str, tuple[int, str]]], body: str
) -> None:
    url, _, pages = stranger
    pages["/api/version"] = (200, '{"release": "1.23.2"}')
    pages["/api/current-user/whoami"] = pages["*"] = (200, body)
    assert "sent a reply that star_al cannot read" in _fails(url, "a" * 40)
    spec = LabelStudioSpec(kind="label_studio", url=url, deleted="restore")
    campaign = Campaign(1, "test campaign", 1, {}, 7, "key")
    connection, task = Connection(url, "a" * 40), make_task(CLASSES)
    annotator = LabelStudioAnnotator(connection, spec, task, campaign, 1, lambda _: [])
    for act in (
        lambda: annotator.ensure(queries(1), [], ours),
        lambda: annotator.poll(None, ours),
        annotator.examine_project,
        annotator.apply_label_config,
    ):
        with pytest.raises(AnnotatorError, match=r"1\.23\.2.*cannot read"):
            act()


def test_the_address_of_a_page_is_told(label_studio: LabelStudio) -> None:
    words = _fails(f"{label_studio.url}/projects/1/data", label_studio.token)
    assert "write only http://host:port" in words
    assert "host:port" not in _fails(f"http://127.0.0.1:{free_port()}/projects/1", "0" * 40)


def test_a_server_that_goes_away_is_told_from_one_that_refuses(label_studio: LabelStudio) -> None:
    with FaultProxy(label_studio.url) as proxy:
        client = Client(Connection(proxy.url, label_studio.token, 5.0), patience=0.2)
        client.get("api/current-user/whoami")
        with pytest.raises(AnnotatorError) as caught:
            client.get("api/projects/99999/")
        assert not isinstance(caught.value, AwayError)
    with pytest.raises(AwayError, match="cannot be reached"):
        client.get("api/current-user/whoami")
