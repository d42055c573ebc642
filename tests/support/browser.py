"""Use Label Studio's pages in a headless Chromium as an annotator does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Playwright,
    Request,
    sync_playwright,
)
from playwright.sync_api import Error as BrowserError

OWN_FAULTS = re.compile(r"/heidi-tips$|/api/dm/actions\?id=next_task&")
"""Failed requests of Label Studio's own pages; an empty queue is also answered with 404."""

OWN_WORDS = "AbortError: signal is aborted without reason"
"""Label Studio's pages log this when they leave while a request is under way."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; the test fails if that is impossible."""
    with sync_playwright() as playwright:
        browser = _launch(playwright)
        try:
            yield browser
        finally:
            browser.close()


def _launch(playwright: Playwright) -> Browser:
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        return playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
    except BrowserError as exc:
        reason = str(exc).splitlines()[0]
    pytest.fail(
        f"Chromium cannot be started ({installed or 'none on PATH'}; {reason}). Install chromium, "
        "or run: playwright install --with-deps chromium",
        pytrace=False,
    )


class LabellingPage:
    """One annotator's window. ``complaints`` collects page errors, dialogs and requests to other servers."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url, self.complaints = url, list[str]()
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 720})
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("dialog", self._on_dialog)

    # -- on the way to a task ------------------------------------------------------------------------------

    def log_in(self, email: str, password: str) -> None:
        self.page.goto(f"{self.url}/user/login/")
        self.page.fill("#email", email)
        self.page.fill("#password", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/login" not in url)

    def label_all_tasks(self, title: str) -> None:
        """Open the project and start with its first task."""
        self.page.goto(f"{self.url}/projects/")
        self.page.get_by_text(title, exact=True).first.click()
        self.page.get_by_role("button", name="Label All Tasks").click()
        self.choices.first.wait_for()

    def close_instructions(self) -> None:
        """Close the instructions that open with the project."""
        heading = self.page.get_by_text("Labeling Instructions")
        heading.wait_for()
        self.page.keyboard.press("Escape")
        heading.wait_for(state="hidden")

    # -- a task --------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The text to label, as the page shows it."""
        lines = self.page.locator(".star-al-text .lsf-richtext__line")
        return "\n".join(lines.evaluate_all("lines => lines.map(line => line.innerText)"))

    @property
    def question(self) -> str:
        return _visible(self.page.locator(".star-al h3").inner_text())

    @property
    def options(self) -> list[str]:
        """All choices as displayed, each with its hotkey: ``A. Wind [1]``."""
        return [_visible(text).replace("\n", " ") for text in self.choices.all_inner_texts()]

    @property
    def choices(self) -> Locator:
        """The rows or chips to click, in order."""
        return self.page.locator(".star-al .lsf-choice")

    @property
    def chosen(self) -> list[str]:
        """The labels whose radio buttons are on."""
        ticked = self.page.locator(".star-al input:checked")
        return [one.get_attribute("name") or "" for one in ticked.all()]

    def click(self, choice: str) -> None:
        self.choices.get_by_text(choice).click()

    def press(self, hotkey: str) -> None:
        self.page.keyboard.press(hotkey)

    def submit(self) -> None:
        self._until_the_next(self.page.get_by_test_id("bottombar-submit-button").click)

    def submit_by_hotkey(self) -> None:
        self._until_the_next(lambda: self.press("Control+Enter"))

    def skip(self) -> None:
        self._until_the_next(self.page.get_by_test_id("bottombar-skip-button").click)

    def in_sight(self, place: Locator) -> bool:
        """Return whether the whole element can be seen without scrolling the page."""
        box, size = place.bounding_box(), self.page.viewport_size
        assert box is not None and size is not None
        right, bottom = box["x"] + box["width"], box["y"] + box["height"]
        return box["x"] >= 0 and box["y"] >= 0 and right <= size["width"] and bottom <= size["height"]

    def save_picture(self, path: Path) -> None:
        """Save a picture of the window without the parts that differ between runs."""
        changing = ".lsf-menu-header__user, .lsf-current-task__task-id, [class*=toast]"
        self.page.screenshot(path=path, animations="disabled", style=f"{changing} {{ visibility: hidden; }}")

    def _until_the_next(self, act: Callable[[], None]) -> None:
        """Run an action that ends a task, and wait until the next task or the end of the queue is displayed."""
        task = self.page.locator(".lsf-current-task__task-id")
        before = task.inner_text()
        act()
        ended = self.page.get_by_text("No More Tasks Left in Queue")
        task.filter(has_not_text=before).or_(ended).wait_for()

    # -- complaints ----------------------------------------------------------------------------------------

    def _on_console(self, message: ConsoleMessage) -> None:
        its_own = OWN_FAULTS.search(message.location["url"]) or message.text.startswith(OWN_WORDS)
        if message.type == "error" and not its_own:
            self.complaints.append(f"console: {message.text} ({message.location['url']})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def _visible(text: str) -> str:
    """Text as people see it, without the invisible joiner after a dollar sign."""
    return text.replace("\u2060", "")
