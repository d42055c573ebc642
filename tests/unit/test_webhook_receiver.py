"""Whatever is sent to the receiver of webhooks: only a request with the secret wakes the run, and it goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from star_al.annotators.label_studio.webhook import LARGEST_BODY, SECRET_HEADER, Receiver


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def _send(receiver: Receiver, raw: bytes) -> bytes:
    """The answer to these bytes, empty if the connection was closed without one."""
    host, _, port = receiver.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection, suppress(OSError):
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1000)
    return b""


def _post(size: str, secret: str | None, body: bytes = b"") -> bytes:
    lines = [b"POST / HTTP/1.1", b"Content-Length: " + size.encode("latin-1")]
    if secret is not None:
        lines.append(f"{SECRET_HEADER}: {secret}".encode())
    return b"\r\n".join([*lines, b"", body])


bodies = st.binary(max_size=200) | st.text(max_size=50).map(str.encode)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=300)
    | st.builds(
        _post,
        st.integers(-5, 300).map(str) | st.sampled_from(["", "x", "1e3", "9" * 5000, "0x10", "\xb2"]),
        st.none() | st.sampled_from(["", "wrong", "\xe9"]),
        bodies,
    )
)
def test_nothing_without_the_secret_wakes_the_run(receiver: Receiver, raw: bytes) -> None:
    answer = _send(receiver, raw)
    assert b" 200 " not in answer.partition(b"\r\n")[0]
    assert not receiver.woken.is_set()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_a_request_with_the_secret_wakes_it_whatever_its_body(receiver: Receiver, body: bytes) -> None:
    headers = {SECRET_HEADER: receiver.secret}
    reply = httpx.post(receiver.url, content=body, headers=headers, trust_env=False)
    assert reply.status_code == 200 and receiver.woken.wait(5)
    receiver.woken.clear()


@pytest.mark.parametrize("size", [str(LARGEST_BODY + 1), "9" * 5000, "-1", "one"])
def test_an_impossible_size_is_refused(receiver: Receiver, size: str) -> None:
    assert b" 413 " in _send(receiver, _post(size, receiver.secret))
    assert not receiver.woken.is_set()
