"""A real Label Studio for tests, run by the code of `star-al up`; installed once, with fresh data each time.

The virtual environment and an empty migrated database are kept in ``$STAR_AL_TEST_LABEL_STUDIO`` or the
user's cache folder; several test runs may share them. Where it cannot be installed the tests fail.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import platformdirs
from filelock import FileLock

from star_al import local_server
from star_al.common.process_identity import ProcessIdentity
from star_al.local_server.command import server_environment
from star_al.local_server.credentials import new_credentials
from star_al.local_server.install import install, python
from support.quiet import Quiet

DATABASE = "label_studio.sqlite3"


class LabelStudio:
    """One server; ``url``, ``user``, ``password`` and ``token`` (legacy) stay the same over restarts.

    The user owns the organisation. It ends with this process at the latest.
    """

    def __init__(
        self,
        place: local_server.Place,
        port: int,
        *,
        host: str = local_server.THIS_MACHINE,
        webhooks: bool = True,
    ) -> None:
        self.place, self._port, self._host, self._webhooks = place, port, host, webhooks
        self.start()

    def start(self) -> None:
        server = local_server.start(
            self.place,
            Quiet(),
            port=self._port,
            host=self._host,
            webhooks=self._webhooks,
            owner=ProcessIdentity.of(),
        )
        self.url, self.user = server.url, server.user
        self.token, self.password = server.token, server.password

    def stop(self) -> None:
        local_server.stop(self.place, Quiet())

    def restart(self) -> None:
        """Stop and start again with the same data, at the same address."""
        self.stop()
        self.start()

    def lose_database(self) -> None:
        """Start again with an empty database: projects, tasks and further users are gone, tokens stay."""
        self.stop()
        shutil.rmtree(self.place.data)
        _fresh_data(self.place)
        self.start()

    def new_user(self, email: str, password: str = "a good password") -> str:
        """Sign up with the organisation's invitation, as a colleague would; return the new user's legacy token."""
        page = self.call("get", "/api/invite")["invite_url"]
        with self.visitor() as visitor:
            submit(visitor, page, {"email": email, "password": password}).raise_for_status()
            return str(visitor.get("/api/current-user/token").raise_for_status().json()["token"])

    def personal_token(self, token: str | None = None) -> str:
        """A new personal access token of the user with the legacy ``token`` (None: the owner)."""
        for known in self.call("get", "/api/token/", token=token):  # a user has one at most
            self.call("post", "/api/token/blacklist/", token=token, json={"refresh": known["token"]})
        return str(self.call("post", "/api/token/", token=token)["token"])

    @contextmanager
    def without_legacy_tokens(self) -> Iterator[None]:
        """The organisation allows no legacy tokens meanwhile."""
        settings = {"api_tokens_enabled": True, "api_token_ttl_days": 365}
        refresh = {"refresh": self.personal_token()}
        self.call("post", "/api/jwt/settings", json={**settings, "legacy_api_tokens_enabled": False})
        try:
            yield
        finally:
            with self.visitor() as visitor:
                reply = visitor.post("/api/token/refresh/", json=refresh).raise_for_status()
                visitor.headers["Authorization"] = f"Bearer {reply.json()['access']}"
                allowed = {**settings, "legacy_api_tokens_enabled": True}
                visitor.post("/api/jwt/settings", json=allowed).raise_for_status()

    def project_of(self, title: str) -> int | None:
        """The project of this title; None as long as there is none."""
        query = {"title": title, "include": "id,title", "page_size": 100}
        found = self.call("get", "/api/projects/", params=query)["results"]
        return next((int(project["id"]) for project in found if project["title"] == title), None)

    def call(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> Any:
        """Send a request with a legacy token (None: the owner's); return its JSON, or None if it has none."""
        reply = self.ask(method, path, token=token, **arguments)
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text[:500]}"
        return reply.json() if reply.content else None

    def ask(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> httpx.Response:
        """Send a request as ``call`` does, and return the reply, also if it is an error."""
        with self.visitor() as visitor:
            visitor.headers["Authorization"] = f"Token {token or self.token}"
            return visitor.request(method, path, **arguments)

    def visitor(self) -> httpx.Client:
        """A browser without pictures: it keeps cookies and follows redirects."""
        return httpx.Client(base_url=self.url, timeout=60, follow_redirects=True, trust_env=False)


def submit(visitor: httpx.Client, page: str, form: dict[str, str]) -> httpx.Response:
    """Open a page with a form and send it, filled in."""
    visitor.get(page).raise_for_status()
    secret = {"csrfmiddlewaretoken": visitor.cookies["csrftoken"]}
    return visitor.post(page, data=form | secret, headers={"Referer": f"{visitor.base_url}{page}"})


def start_server(home: Path, **settings: Any) -> LabelStudio:
    """A server with fresh data in ``home``, on a free port."""
    return LabelStudio(fresh_place(home), free_port(), **settings)


def fresh_place(home: Path) -> local_server.Place:
    """A place with an installed server and an empty database, where nothing has been started yet."""
    place = local_server.Place(home, cache_folder() / "environments")
    with FileLock(_lock()):
        install(place, local_server.VERSION, Quiet())
    _fresh_data(place)
    return place


def cache_folder() -> Path:
    """The folder that test runs share."""
    named = os.environ.get("STAR_AL_TEST_LABEL_STUDIO")
    return Path(named or Path(platformdirs.user_cache_dir("star_al")) / "label-studio-tests").absolute()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _lock() -> Path:
    cache_folder().mkdir(parents=True, exist_ok=True)
    return cache_folder() / "lock"


def _fresh_data(place: local_server.Place) -> None:
    """Create the data as Label Studio does at its first start, without the 23 seconds that takes."""
    place.data.mkdir(parents=True)
    shutil.copy(_template(place) / DATABASE, place.data)


def _template(place: local_server.Place) -> Path:
    folder = cache_folder() / f"database-{local_server.VERSION}"
    with FileLock(_lock()):
        if not folder.is_dir():
            aside = local_server.Place(folder.with_name(f"making-{secrets.token_hex(4)}"), place.environments)
            aside.home.mkdir()
            environment = server_environment(aside, new_credentials(aside, 0, local_server.VERSION))
            command: list[str | Path] = [
                python(aside, local_server.VERSION),
                "-I",
                "-m",
                "label_studio.server",
                "version",
            ]
            done = subprocess.run(
                command, env=environment, cwd=aside.home, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            aside.data.rename(folder)
            aside.home.rmdir()
    return folder
