"""The built documentation asks no other host for anything, and its pages work in a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browser import chromium
from support.doc_blocks import ROOT

pytestmark = pytest.mark.browser

FOREIGN = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//"
    r"|<link\b(?![^>]*rel=\"?canonical)[^>]*\bhref=\"?(?:https?:)?//"
    r"|url\(\s*['\"]?(?:https?:)?//"
    r"|@import\s+['\"](?:https?:)?//"
)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A window, and at its end no request to another host and no error."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on(
        "request", lambda request: None if _is_ours(request.url, address) else complaints.append(request.url)
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert complaints == []


def _is_ours(url: str, address: str) -> bool:
    return url.startswith((address, "data:", f"blob:{address}"))


def test_no_file_names_something_to_fetch_from_another_host(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 30
    found = {str(path): FOREIGN.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_no_page_asks_another_host(site: Path, page: Page, address: str) -> None:
    for path in sorted(site.rglob("*.html")):
        page.goto(f"{address}/{path.relative_to(site).as_posix()}")
    page.wait_for_load_state("networkidle")


def test_search_finds_a_setting(page: Page, address: str) -> None:
    page.goto(f"{address}/index.html")
    page.get_by_label("Search").first.click()
    page.keyboard.type("near_duplicates")
    expect(page.locator(".md-search-result__item").first).to_be_visible(timeout=20_000)


def test_the_command_reference_has_every_command(site: Path) -> None:
    text = (site / "cli.html").read_text(encoding="utf-8")
    for command in ("init", "run", "simulate", "export", "db upgrade"):
        assert f"star-al {command}" in text
