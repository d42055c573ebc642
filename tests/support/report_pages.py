"""Open pages of `star-al report` in a headless Chromium."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Dialog, Locator, Page, Request, expect

WIDE, PHONE = 1400, 360

expect.set_options(timeout=20_000)  # by default it waits for 5 seconds, which a busy machine may need


@dataclass
class OpenPage:
    """A page and its faults: errors, warnings, dialogs, and requests for anything but itself."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    @property
    def where(self) -> Locator:
        """The page's own words about which table rows it shows."""
        return self.page.locator("#where")

    def shows(self, words: str) -> None:
        """Wait until the table shows these rows."""
        expect(self.where).to_have_text(words)

    def column(self, place: int) -> list[str]:
        """Texts of one column in the rows shown."""
        return self.page.locator(f"#asked-table tbody td:nth-child({place + 1})").all_inner_texts()

    @property
    def too_wide(self) -> int:
        """Number of pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def open_page(
    browser: Browser, path: Path, *, width: int = WIDE, scheme: Literal["light", "dark"] = "light"
) -> OpenPage:
    """Open the file in a new window."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = OpenPage(page, path.as_uri())
    page.on("console", lambda message: opened.complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: opened.complaints.append(f"uncaught: {error}"))
    page.on("dialog", lambda dialog: _on_dialog(opened, dialog))
    page.on("request", lambda request: _on_request(opened, request))
    page.goto(opened.url)
    return opened


def _on_dialog(opened: OpenPage, dialog: Dialog) -> None:
    opened.complaints.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def _on_request(opened: OpenPage, request: Request) -> None:
    if request.url.partition("#")[0] != opened.url and not request.url.startswith("data:"):
        opened.complaints.append(f"request to {request.url}")
