"""The operator's page in headless Chromium: logging in, looking, making a token, kicking; light and dark."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.kit.adminworld import AdminWorld, open_admin
from tests.kit.classic_client import ClassicClient, Wish
from tests.ngrokd.test_server import trusting

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AdminWorld]:
    async with open_admin(tmp_path) as found:
        yield found


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1500", "--hide-scrollbars"):
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": request.param}]}
    )
    driver.scheme = request.param  # type: ignore[attr-defined]
    try:
        yield driver
    finally:
        driver.quit()


def until(driver: webdriver.Chrome, what: Callable[[], Any]) -> Any:
    return WebDriverWait(driver, 10, poll_frequency=0.05, ignored_exceptions=[Exception]).until(lambda _: what())


def by(driver: webdriver.Chrome, selector: str) -> Any:
    return driver.find_element(By.CSS_SELECTOR, selector)


def focused(driver: webdriver.Chrome) -> str:
    script = "const it = document.activeElement; return it.getAttribute('aria-label') || it.id || it.name || it.tagName"
    return str(driver.execute_script(script))


def shoot(driver: webdriver.Chrome, name: str) -> None:
    """Keep a picture where SCREENSHOTS says."""
    where = os.environ.get("SCREENSHOTS")
    if where:
        Path(where).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(f"{where}/admin-{name}-{driver.scheme}.png")  # type: ignore[attr-defined]


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the browser's console said, but for the answers that the page asks for on purpose."""
    said: list[dict[str, str]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in said if " 401 " not in entry["message"]]


def visit(driver: webdriver.Chrome, world: AdminWorld) -> None:
    driver.get(world.base + "/")
    until(driver, lambda: by(driver, "#token").is_displayed())
    by(driver, "#token").send_keys("wrong")
    by(driver, "#login-form button").click()
    until(driver, lambda: "not the token" in by(driver, "#login-error").text)
    shoot(driver, "login")
    by(driver, "#token").clear()
    by(driver, "#token").send_keys(world.token)
    by(driver, "#login-form button").click()
    until(driver, lambda: focused(driver) == "desk")
    until(driver, lambda: "one.localhost" in by(driver, "#tunnels").text)

    by(driver, "#token-form [name=name]").send_keys("alice")
    by(driver, "#token-form [name=allow_hosts]").send_keys("shop,*.dev")
    assert "make a token first" in by(driver, "#name-form select").text
    by(driver, "#token-form button").click()
    until(driver, lambda: by(driver, "#secret-text").text.startswith("nt_"))
    until(driver, lambda: focused(driver) == "secret-copy")
    until(driver, lambda: "alice" in by(driver, "#tokens").text)
    by(driver, "#tokens button").click()
    until(driver, lambda: by(driver, "#limits").is_displayed())
    assert by(driver, "#limits [name=allow_hosts]").get_attribute("value") == "shop,*.dev"
    by(driver, "#limits [name=max_tunnels]").send_keys("7")
    by(driver, "#limits [name=allow_hosts]").clear()
    shoot(driver, "limits")
    by(driver, "#limits .cancel").click()
    until(driver, lambda: not by(driver, "#limits").is_displayed())
    assert focused(driver) == "Limits of alice"
    by(driver, "#tokens button").send_keys(Keys.ENTER)
    by(driver, "#limits [name=max_tunnels]").clear()
    by(driver, "#limits [name=max_tunnels]").send_keys("7")
    by(driver, "#limits [name=allow_hosts]").clear()
    by(driver, "#limits [name=allow_hosts]").send_keys(Keys.ENTER)  # a form's first button is what Enter presses
    until(driver, lambda: "7 tunnels" in by(driver, "#tokens").text and "shop" not in by(driver, "#tokens").text)
    by(driver, "#name-form [name=name]").send_keys("shop.localhost")
    by(driver, "#name-form button").click()
    until(driver, lambda: "shop.localhost" in by(driver, "#reservations").text)
    shoot(driver, "desk")
    driver.set_window_size(420, 2400)
    shoot(driver, "phone")
    assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    driver.set_window_size(1200, 1500)
    by(driver, "#secret-close").click()
    assert by(driver, "#secret-text").get_attribute("textContent") == ""
    assert focused(driver) == "name"
    driver.execute_script(
        "document.querySelector('#sessions button').focus(); document.getElementById('sessions').dataset.shown = ''"
    )
    until(driver, lambda: by(driver, "#sessions").get_attribute("data-shown"))
    assert focused(driver).startswith("Kick ")  # its row was made anew

    by(driver, "#sessions button").click()
    until(driver, lambda: by(driver, "#ask").is_displayed())
    driver.execute_script("document.getElementById('ask-time').value = '60'")
    shoot(driver, "kick")
    by(driver, "#ask-yes").click()
    until(driver, lambda: "No agent" in by(driver, "#sessions").text)
    until(driver, lambda: "client" in by(driver, "#bans").text)
    by(driver, "#reload").click()
    until(driver, lambda: "Nothing has changed" in by(driver, "#notice").text)
    by(driver, "#logout").click()
    until(driver, lambda: by(driver, "#token").is_displayed())
    assert complaints(driver) == []


async def test_an_operator_at_work(world: AdminWorld, browser: webdriver.Chrome) -> None:
    port = world.server.addresses["tunnel"][0].port
    client = ClassicClient(("127.0.0.1", port), trusting(), Wish(("127.0.0.1", 1), "http", subdomain="one"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quiet, client)
        with trio.fail_after(5):
            while not list(world.server.registry.tunnels()):
                await trio.sleep(0.01)
        await trio.to_thread.run_sync(visit, browser, world)
        nursery.cancel_scope.cancel()


async def quiet(client: ClassicClient) -> None:
    """It is kicked; how it takes that is not the question."""
    try:
        await client.run()
    except Exception:  # noqa: BLE001 - how it takes that is not the question
        await trio.sleep_forever()
