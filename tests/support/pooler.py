"""PgBouncer in transaction mode in front of a Postgres, as many hosted databases have it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest
from sqlalchemy import make_url

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed; see scripts/install_pgbouncer.sh"
)


class Pooler:
    """Listens on a free port until it is closed; ``connections`` on the server serve all clients."""

    def __init__(self, postgres_url: str, folder: Path, connections: int = 2) -> None:
        assert PROGRAM is not None
        url, port = make_url(postgres_url), _free_port()
        folder.mkdir(parents=True)
        users = folder / "users.txt"
        users.write_text('"postgres" ""\n')
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={url.query['host']} port={url.port or 5432}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
            f"default_pool_size = {connections}\n"
        )
        self.url = url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
        # It refuses to run as root, and only the server's own user may open its socket.
        user = Path(str(url.query["host"])).owner() if os.geteuid() == 0 else None
        _let_others_read(settings, users)
        self._process = subprocess.Popen([PROGRAM, str(settings)], stderr=subprocess.DEVNULL, user=user)
        _wait_for(port)

    def __enter__(self) -> Pooler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)


def _let_others_read(*files: Path) -> None:
    for file in files:
        file.chmod(0o644)
        for folder in file.parents:
            if folder.owner() == file.owner() and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o011)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.05)
