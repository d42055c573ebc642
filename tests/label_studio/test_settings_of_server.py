"""The local server tells nobody of itself, takes in nobody, and calls this machine only if it may."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from star_al.local_server import invitation, running
from star_al.local_server.addresses import outside_address
from support.label_studio_server import LabelStudio, start_server, submit


def test_it_sends_no_telemetry_and_takes_the_password(label_studio: LabelStudio) -> None:
    with label_studio.visitor() as visitor:
        submit(visitor, "/user/login/", {"email": label_studio.user, "password": label_studio.password})
        page = visitor.get("/version/").text  # shows its settings to its owner only
    for setting in (
        '"COLLECT_ANALYTICS": "False"',
        '"LATEST_VERSION_CHECK": "False"',
        '"SENTRY_DSN": ""',
        '"FRONTEND_SENTRY_DSN": ""',
        '"SSRF_PROTECTION_ENABLED": "True"',
    ):
        assert setting in page


def test_nobody_signs_up_without_an_invitation(label_studio: LabelStudio) -> None:
    with label_studio.visitor() as visitor:
        form = {"email": "x@example.org", "password": "a good password"}
        assert submit(visitor, "/user/signup/", form).status_code == 403


def test_it_answers_to_this_machines_names_only(label_studio: LabelStudio) -> None:
    def status(host: str) -> int:
        return label_studio.ask("get", "/health", headers={"Host": host}).status_code

    assert status("localhost:8080") == 200
    assert status("evil.example") == 400


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:9/hook", 201),
        ("http://localhost:9/hook", 201),
        ("http://169.254.169.254/", 403),
        ("http://192.168.1.1/", 403),
        ("http://10.0.0.1/", 403),
    ],
)
def test_webhooks_reach_this_machine_but_no_private_network(
    label_studio: LabelStudio, url: str, status: int
) -> None:
    project = label_studio.call("post", "/api/projects", json={"title": "hooks"})["id"]
    reply = label_studio.ask("post", "/api/webhooks/", json={"url": url, "project": project})
    assert reply.status_code == status


def test_users_and_tokens_for_tests_work(label_studio: LabelStudio) -> None:
    token = label_studio.new_user("bo@example.org")
    assert label_studio.call("get", "/api/current-user/whoami", token=token)["email"] == "bo@example.org"
    for owner in (None, token):
        refresh = {"refresh": label_studio.personal_token(owner)}
        access = label_studio.call("post", "/api/token/refresh/", json=refresh)["access"]
        with label_studio.visitor() as visitor:
            visitor.headers["Authorization"] = f"Bearer {access}"
            assert visitor.get("/api/projects").is_success


def test_a_server_for_colleagues_lets_them_in_by_invitation_and_calls_nobody_here(tmp_path: Path) -> None:
    server = start_server(tmp_path / "home", host="0.0.0.0", webhooks=False)
    try:
        local = running(server.place)
        assert local is not None
        link = invitation(local)
        assert link is not None
        outside, _, path = link.removeprefix("http://").partition("/")
        assert outside.startswith(outside_address("0.0.0.0") + ":")
        with httpx.Client(base_url=f"http://{outside}", follow_redirects=True, trust_env=False) as colleague:
            form = {"email": "colleague@example.org", "password": "a good password"}
            assert submit(colleague, "/user/signup/", form).status_code == 403
            submit(colleague, f"/{path}", form).raise_for_status()
            assert colleague.get("/api/current-user/whoami").json()["email"] == form["email"]
            assert colleague.get("/health", headers={"Host": "evil.example"}).status_code == 400
        project = server.call("post", "/api/projects", json={"title": "hooks"})["id"]
        for url in ("http://127.0.0.1:9/hook", "http://localhost:9/hook", f"http://{outside}/"):
            reply = server.ask("post", "/api/webhooks/", json={"url": url, "project": project})
            assert reply.status_code == 403, url
    finally:
        server.stop()
