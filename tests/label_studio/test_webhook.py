"""Webhooks: the receiver alone, among clients who mean no good, and what Label Studio makes of it."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from star_al.annotators.label_studio import webhook as webhooks
from star_al.annotators.label_studio.client import Connection
from star_al.annotators.label_studio.webhook import ACTIONS, SECRET_HEADER, Receiver, Webhook
from star_al.errors import AnnotatorError, AwayError, ConfigError
from support.fault_proxy import Fault, FaultProxy, Kind
from support.label_studio_server import LabelStudio

CONFIG = (
    '<View><Text name="t" value="$text"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def post(
    receiver: Receiver,
    secret: str | None,
    body: bytes = b'{"action": "ANNOTATION_CREATED"}',
    method: str = "POST",
) -> int:
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=20)
    headers = {} if secret is None else {SECRET_HEADER: secret}
    connection.request(method, "/star_al/any", body, headers)
    return connection.getresponse().status


def talk(receiver: Receiver, sent: bytes) -> socket.socket:
    address = urlsplit(receiver.url)
    client = socket.create_connection((address.hostname, address.port), timeout=10)
    client.sendall(sent)
    return client


def test_a_hint_with_the_secret_wakes_and_is_answered_at_once(receiver: Receiver) -> None:
    def seconds() -> float:
        receiver.woken.clear()
        start = time.monotonic()
        assert post(receiver, receiver.secret) == 200
        assert receiver.woken.wait(20)
        return time.monotonic() - start

    assert min(seconds() for _ in range(5)) < 0.3  # a busy machine may have other things to do now and then


@pytest.mark.parametrize("secret", [None, "", "wrong", "é" * 43])
def test_a_hint_without_the_secret_is_refused(receiver: Receiver, secret: str | None) -> None:
    assert post(receiver, secret) == 403
    assert not receiver.woken.is_set()


def test_only_posts_are_taken(receiver: Receiver) -> None:
    for method in ("GET", "PUT", "HEAD"):
        assert post(receiver, receiver.secret, method=method) == 501
    assert not receiver.woken.is_set()


def test_a_large_body_is_not_read(receiver: Receiver) -> None:
    client = talk(receiver, b"POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n")
    assert b" 413 " in client.recv(100)
    assert not receiver.woken.is_set()


JUNK = [
    b"\x16\x03\x01\x02\x00" * 50,  # a TLS greeting
    b"POST\r\n\r\n",
    b"A" * 70_000,
    b"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n",
]


@pytest.mark.parametrize("junk", JUNK, ids=["tls", "short", "long", "negative"])
def test_junk_is_survived_and_not_printed(
    receiver: Receiver, junk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    talk(receiver, junk).close()
    assert post(receiver, receiver.secret) == 200
    assert capfd.readouterr() == ("", "")


def test_those_who_hold_connections_are_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "CONNECTION_SECONDS", 0.3)
    holding = [talk(receiver, b"POST / HTTP/1.1\r\nContent-") for _ in range(webhooks.MAX_CONNECTIONS + 4)]
    refused = talk(receiver, b"POST")
    assert refused.recv(10) == b""  # at once: there are too many already
    assert all(client.recv(10) == b"" for client in holding)
    time.sleep(0.7)  # their threads end after that
    assert post(receiver, receiver.secret) == 200


def test_closing_does_not_wait_for_those_who_hold_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "CONNECTION_SECONDS", 60.0)
    monkeypatch.setattr(webhooks._Handler, "timeout", 60.0)
    with Receiver() as listening:
        client = talk(listening, b"POST / HTTP/1.1\r\nContent-")
        start = time.monotonic()
    assert time.monotonic() - start < 20
    client.close()


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:x", ":80", "127.0.0.1:70000", "203.0.113.7:0"])
def test_what_cannot_be_listened_on(bind: str) -> None:
    with pytest.raises(ConfigError, match="--webhook-bind"):
        Receiver(bind)


def test_a_port_that_is_taken(receiver: Receiver) -> None:
    with pytest.raises(ConfigError, match="in use"):
        Receiver(urlsplit(receiver.url).netloc)


def test_every_address_of_a_machine_is_none_to_call() -> None:
    with pytest.raises(ConfigError, match="--webhook-url"):
        Webhook(Connection("http://127.0.0.1:1", "token", 5.0), "key", bind="0.0.0.0:0")


# -- with Label Studio -----------------------------------------------------------------------------------


class Project:
    """One project on the server, with one task."""

    def __init__(self, server: LabelStudio) -> None:
        self.server = server
        self.connection = Connection(server.url, server.token, 30.0)
        project = server.call("post", "/api/projects/", json={"title": "webhooks", "label_config": CONFIG})
        self.place = f"{server.url}/projects/{project['id']}/data"
        tasks = server.call(
            "post", f"/api/projects/{project['id']}/import?return_task_ids=true", json=[{"text": "one"}]
        )
        self.task = tasks["task_ids"][0]
        self.id = project["id"]

    def hooks(self) -> list[dict[str, Any]]:
        return [hook for hook in self.server.call("get", "/api/webhooks/") if hook["project"] == self.id]

    def annotate(self, **changes: Any) -> int:
        result = [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["a"]}}]
        path = f"/api/tasks/{self.task}/annotations/"
        answer: dict[str, Any] = self.server.call("post", path, json={"result": result, **changes})
        return int(answer["id"])


@pytest.fixture
def project(label_studio: LabelStudio) -> Project:
    return Project(label_studio)


def test_each_change_by_an_annotator_wakes(project: Project) -> None:
    with Webhook(project.connection, "key-wake") as webhook:
        webhook.attach(project.place)

        def woken_by(change: Any) -> bool:
            webhook.woken.clear()
            change()
            return webhook.woken.wait(20)

        ids: list[int] = []
        call = project.server.call
        assert woken_by(lambda: ids.append(project.annotate()))
        assert woken_by(lambda: call("patch", f"/api/annotations/{ids[0]}/", json={"result": []}))
        assert woken_by(lambda: call("delete", f"/api/annotations/{ids[0]}/"))
        assert woken_by(lambda: project.annotate(was_cancelled=True))
        assert woken_by(lambda: call("delete", f"/api/tasks/{project.task}/"))


def test_it_is_registered_for_the_project_and_removed_at_the_end(project: Project) -> None:
    with Webhook(project.connection, "key-register") as webhook:
        assert project.hooks() == []  # not before there is a place
        webhook.attach(project.place)
        webhook.attach(project.place)
        [hook] = project.hooks()
        assert hook["url"].startswith("http://127.0.0.1:") and hook["url"].endswith("/star_al/key-register")
        assert set(hook["actions"]) == set(ACTIONS)
        assert not hook["send_payload"] and not hook["send_for_all_actions"]
    assert project.hooks() == []


def test_left_overs_of_this_campaign_go_and_those_of_others_stay(project: Project) -> None:
    def hook(url: str) -> None:
        project.server.call("post", "/api/webhooks/", json={"url": url, "project": project.id})

    for key in ("key-mine", "key-mine", "key-other"):
        hook(f"http://127.0.0.1:9/star_al/{key}")
    hook("http://127.0.0.1:9/of-somebody")
    with Webhook(project.connection, "key-mine") as webhook:
        webhook.attach(project.place)
        assert sum(each["url"].endswith("/key-mine") for each in project.hooks()) == 1
    assert {each["url"] for each in project.hooks()} == {
        "http://127.0.0.1:9/star_al/key-other",
        "http://127.0.0.1:9/of-somebody",
    }


def test_a_run_that_lost_the_campaign_leaves_its_successor_alone(project: Project) -> None:
    with Webhook(project.connection, "key-taken") as first:
        first.attach(project.place)
        second = Webhook(project.connection, "key-taken")
        with second:
            second.attach(project.place)
            first.__exit__(None, None, None)
            [hook] = project.hooks()
            project.annotate()
            assert second.woken.wait(20)
        del hook
    assert project.hooks() == []


def test_a_new_project_is_registered_too(label_studio: LabelStudio) -> None:
    before, after = Project(label_studio), Project(label_studio)
    with Webhook(before.connection, "key-moved") as webhook:
        webhook.attach(before.place)
        webhook.attach(after.place)
        assert before.hooks() == [] and len(after.hooks()) == 1


def test_refusals_say_what_to_do_once(project: Project) -> None:
    stranger = Connection(project.server.url, "0" * 40, 5.0)
    with Webhook(stranger, "key-stranger") as webhook:
        with pytest.raises(AnnotatorError, match=r"cannot be set up: .* does not accept the token") as caught:
            webhook.attach(project.place)
        assert "0000" not in str(caught.value)
        webhook.attach(project.place)  # it has been told


def test_a_server_that_is_away_is_asked_again_after_some_polls(project: Project) -> None:
    with FaultProxy(project.server.url, [Fault(Kind.DROP_REQUEST)]) as proxy:
        connection = replace(project.connection, url=proxy.url)
        with Webhook(connection, "key-away") as webhook:
            with pytest.raises(AwayError, match="cannot be reached"):
                webhook.attach(project.place)
            for _ in range(webhooks.RETRY_AFTER - 1):
                webhook.attach(project.place)
            assert project.hooks() == []
            webhook.attach(project.place)
            assert len(project.hooks()) == 1


def test_an_address_that_label_studio_may_not_call_is_told(project: Project) -> None:
    with (
        Webhook(project.connection, "key-private", url="http://192.168.7.7:9") as webhook,
        pytest.raises(AnnotatorError, match=r"SSRF protection.*--webhook-url"),
    ):
        webhook.attach(project.place)
