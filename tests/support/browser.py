"""
A browser for the tests of the page: the system's Chromium, else one that `make browser` had to bring.

Without one the tests fail: a page that nobody opened has not been tested. Run as a program this module says whether
there is a browser that starts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def executable(playwright: Playwright) -> str:
    """Return the path of a Chromium, or fail and say how to get one."""
    own = playwright.chromium.executable_path
    found = next(filter(None, map(shutil.which, _NAMES)), own if Path(own).exists() else None)
    assert found, f"the tests of the page need one of {', '.join(_NAMES)} on the path: make browser"
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """Start the browser, without its sandbox: that needs rights a container lacks, and it sees our pages alone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(playwright), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opener:
    """Opens pages and remembers whatever should not happen: a request, a message on the console, an error, a dialog."""

    browser: Browser
    faults: list[str] = field(default_factory=list)

    def __call__(self, path: Path, address: str = "", **options: Any) -> Page:
        """Open the file at `path`, at an address on it, as somebody would who was sent it."""
        context = self.browser.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self._requested(request.url, path))
        page.goto(path.as_uri() + address)
        return page

    def _requested(self, url: str, path: Path) -> None:
        if url.split("#")[0] != path.as_uri():
            self.faults.append(f"request: {url[:200]}")

    def close(self) -> None:
        """Close all pages and raise where something happened that should not."""
        for context in self.browser.contexts:
            context.close()
        assert self.faults == []


if __name__ == "__main__":
    with launched() as started:
        print(f"Chromium {started.version}")
