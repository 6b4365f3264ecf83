"""Headless Chromium for tests, driven from a worker thread while trio serves. Skips, and says why, where it is missing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import trio
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT = 20.0
Result = TypeVar("Result")


def require() -> tuple[str, str]:
    """Paths of the browser and its driver; skips the test when one is missing."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are needed: make browser-deps installs them on Debian and Ubuntu")
    return browser, driver


class Page:
    """One window. Everything here blocks: use it in a thread."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Behind a redirect the driver comes back before the page's scripts have run: keys pressed then are lost."""
        self.driver.get(url)
        self.wait(lambda: self.run("return document.readyState") == "complete", url)

    def wait(self, check: Callable[[], Result], what: str = "") -> Result:
        """Until `check` gives something true; elements that were replaced meanwhile count as not yet."""

        def attempt(_: object) -> Any:
            try:
                return check()
            except Exception as error:
                # redrawn between two look-ups
                if "stale" in str(error) or "no such element" in str(error):
                    return False
                raise

        return WebDriverWait(self.driver, WAIT, poll_frequency=0.05).until(attempt, what)  # type: ignore[no-any-return]

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.wait(lambda: self.driver.find_element("css selector", selector), selector)

    def text(self, selector: str) -> str:
        return "\n".join(str(element.text) for element in self.all(selector))

    def shows(self, selector: str, text: str) -> None:
        self.wait(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def click(self, selector: str) -> None:
        def attempt() -> bool:
            self.driver.find_element("css selector", selector).click()
            return True

        self.wait(attempt, selector)

    def press(self, keys: str) -> None:
        self.driver.find_element("css selector", "body").send_keys(keys)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def _log(self) -> list[dict[str, str]]:
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]

    def problems(self) -> list[str]:
        """What the console complained about since the last call."""
        return [entry["message"] for entry in self._log() if entry["level"] in ("SEVERE", "WARNING")]


@contextmanager
def open_browser(width: int = 1400, height: int = 900, flags: tuple[str, ...] = ()) -> Iterator[Page]:
    """A fresh browser with a profile of its own; `flags` beside ours."""
    browser, driver = require()
    with tempfile.TemporaryDirectory(prefix="ngrokc-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield Page(chrome)
        finally:
            chrome.quit()


async def browse(steps: Callable[[Page], None], *, width: int = 1400, height: int = 900) -> None:
    """Run `steps` with a browser in a thread, so that the inspector goes on serving."""

    def work() -> None:
        with open_browser(width, height) as page:
            steps(page)
            assert page.problems() == []

    require()
    await trio.to_thread.run_sync(work)
