"""The fault proxy breaks and records the chosen requests and no others; the server behind it counts requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from support.fault_proxy import Fault, FaultProxy, Kind

BODY = b"0123456789" * 20


class Counting(ThreadingHTTPServer):
    """Answers every request with BODY and records it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.done: list[str] = []
        super().__init__(("127.0.0.1", 0), _Counting)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.done.append(f"{self.command} {self.path} {body.decode()}".strip())
        status = 204 if self.command == "DELETE" else 200
        self.send_response(status)
        self.send_header("Content-Length", "0" if status == 204 else str(len(BODY)))
        self.end_headers()
        if status == 200:
            self.wfile.write(BODY)

    do_GET = do_POST = do_DELETE = _do

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as counting:
        threading.Thread(target=counting.serve_forever, args=(0.02,), daemon=True).start()
        yield counting
        counting.shutdown()


def post(proxy: FaultProxy, path: str = "/a", timeout: float = 20.0) -> httpx.Response:
    return httpx.post(proxy.url + path, content=b"x", timeout=timeout)


def until_done(server: Counting) -> None:
    """Wait until a request arrives."""
    deadline = time.monotonic() + 20
    while not server.done:
        assert time.monotonic() < deadline, "nothing has come"
        time.sleep(0.02)


def test_without_a_plan_it_passes_everything_on(server: Counting) -> None:
    with FaultProxy(server.url) as proxy, httpx.Client(base_url=proxy.url) as client:
        replies = [client.post("/a?b=1", content=b"x"), client.get("/c"), client.delete("/d")]
        assert [reply.status_code for reply in replies] == [200, 200, 204]
        assert replies[0].content == replies[1].content == BODY
        assert server.done == ["POST /a?b=1 x", "GET /c", "DELETE /d"]
        assert [(one.method, one.path, one.status, one.fault) for one in proxy.record] == [
            ("POST", "/a?b=1", 200, None),
            ("GET", "/c", 200, None),
            ("DELETE", "/d", 204, None),
        ]


def test_a_fault_befalls_the_nth_matching_request_and_its_followers_only(server: Counting) -> None:
    fault = Fault(Kind.ERROR_BEFORE, nth=2, times=2, method="POST", path=r"/import\b", status=502)
    with FaultProxy(server.url, [fault]) as proxy:
        paths = ["/import", "/other", "/import", "/import?x", "/imports", "/import"]
        assert [post(proxy, path).status_code for path in paths] == [200, 200, 502, 502, 200, 200]
        assert httpx.get(proxy.url + "/import").status_code == 200
        assert proxy.injected == {Kind.ERROR_BEFORE: 2}
        assert len(server.done) == 5


@pytest.mark.parametrize(
    ("kind", "done"), [(Kind.DROP_REPLY, 1), (Kind.DROP_REQUEST, 0), (Kind.CUT, 1), (Kind.REFUSE, 0)]
)
def test_the_connection_breaks(server: Counting, kind: Kind, done: int) -> None:
    with FaultProxy(server.url, [Fault(kind, seconds=0.1)]) as proxy:
        with pytest.raises(httpx.TransportError):
            post(proxy)
        assert len(server.done) == done
        deadline = time.monotonic() + 20
        while proxy.injected[kind] and time.monotonic() < deadline:  # refuses for a moment
            try:
                assert post(proxy).content == BODY
                break
            except httpx.TransportError:
                time.sleep(0.02)
        assert len(server.done) == done + 1


def test_half_of_a_body_arrives_before_a_cut(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.CUT)]) as proxy:
        got = b""
        with (
            pytest.raises(httpx.RemoteProtocolError),
            httpx.stream("POST", proxy.url, content=b"x") as reply,
        ):
            assert reply.status_code == 200
            for chunk in reply.iter_bytes():
                got += chunk
        assert got == BODY[:100]


def test_a_cut_reply_without_a_body_never_arrives(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.CUT)]) as proxy:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.delete(proxy.url)
        assert len(server.done) == 1


def test_an_error_can_hide_that_it_was_done(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.ERROR_AFTER, status=429)]) as proxy:
        assert post(proxy).status_code == 429
        assert len(server.done) == 1
        assert (proxy.record[0].status, proxy.record[0].reply) == (200, BODY)


def test_a_delayed_reply_comes_after_the_clients_limit(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.DELAY, seconds=60.0)]) as proxy:
        with pytest.raises(httpx.ReadTimeout):
            post(proxy, timeout=0.5)
        until_done(server)


def test_a_request_held_back_is_done_after_later_ones(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.HOLD, requests=2)]) as proxy:
        with pytest.raises(httpx.ReadTimeout):
            post(proxy, "/held", timeout=0.5)
        assert proxy.wait_until_held(20)
        post(proxy, "/second")
        assert server.done == ["POST /second x"]
        post(proxy, "/third")
        proxy.release()
        assert sorted(server.done) == ["POST /held x", "POST /second x", "POST /third x"]


def test_a_request_held_back_is_done_after_a_time_though_its_client_has_gone(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.HOLD, seconds=1.0, gone=True)]) as proxy:
        with pytest.raises(httpx.RemoteProtocolError):
            post(proxy)
        assert server.done == []
        until_done(server)
        assert server.done == ["POST /a x"]


def test_release_waits_until_the_server_has_answered(server: Counting) -> None:
    with FaultProxy(server.url, [Fault(Kind.HOLD)]) as proxy:
        patient: list[bytes] = []
        thread = threading.Thread(target=lambda: patient.append(post(proxy).content))
        thread.start()
        assert proxy.wait_until_held(20)
        assert server.done == []
        proxy.release()
        assert server.done == ["POST /a x"]
        thread.join()
        assert patient == [BODY]


def test_a_held_request_never_arrives_once_the_proxy_is_closed(server: Counting) -> None:
    proxy = FaultProxy(server.url, [Fault(Kind.HOLD, gone=True)])
    with pytest.raises(httpx.RemoteProtocolError):
        post(proxy)
    proxy.close()
    time.sleep(0.2)
    assert server.done == []


def test_it_answers_502_where_the_server_is_down(server: Counting) -> None:
    with FaultProxy("http://127.0.0.1:9", []) as proxy:
        assert post(proxy).status_code == 502
