"""The page as a person has it who touches no mouse, and HAR files out of it and into it."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from protocol.address import Upstream
from tests.kit.browser import Page, browse
from tests.kit.inspection import answer, open_inspection, request
from tests.kit.upstream import open_upstream

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WHERE = """
const it = document.activeElement, style = getComputedStyle(it);
return [it.id || it.dataset.key || it.dataset.view || it.className || it.tagName.toLowerCase(), style.outlineStyle !== 'none']
"""


def press(page: Page, *keys: str) -> None:
    """To whatever has the focus, as a keyboard does."""
    for key in keys:
        ActionChains(page.driver).send_keys(key).perform()


def at(page: Page, name: str) -> None:
    """The focus comes to the element of this id or key."""
    page.wait(lambda: page.run(WHERE)[0] == name, f"the focus at {name}, not at {page.run(WHERE)[0]}")


def round_by_tab(page: Page) -> list[str]:
    """Where Tab stops from here to the end of the page."""
    stops: list[str] = []
    while True:
        press(page, Keys.TAB)
        where, visible = page.run(WHERE)
        if where == "body":
            return stops
        assert visible, f"nobody sees that {where} has the focus"
        stops.append(where)


async def test_a_round_by_keyboard_alone() -> None:
    async with open_upstream() as upstream, open_inspection(Upstream("tcp", "127.0.0.1", upstream.ports["http"])) as it:
        it.send(request("GET", "/other"), answer(status="404 Not Found"))
        it.send(request("POST", "/echo", b"needle", "text/plain"), answer(b"{}", "application/json"))

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            page.wait(lambda: len(page.all(".row")) == 2)
            top = ["brand", "list", "status", "state", "help-button", "filter", "pause", "clear", "menu", "rows"]
            assert round_by_tab(page) == top
            press(page, "/")
            at(page, "filter")
            press(page, "body:needle")
            page.wait(lambda: len(page.all(".row")) == 1)
            press(page, Keys.ENTER)
            at(page, "rows")
            press(page, Keys.ARROW_DOWN)
            page.shows("#detail-pane h1", "POST /echo")
            at(page, "rows")  # the list goes on hearing the arrows
            press(page, Keys.TAB)
            at(page, "replay")
            assert round_by_tab(page) == [
                "times", "edit", "curl", "http", "python", "har",
                "request-body", "request-text", "request-download", "answer-body", "answer-text", "answer-download",
            ]  # fmt: skip
            assert round_by_tab(page)[: len(top) + 1] == [*top, "replay"]
            page.run("document.querySelector('[data-key=request-body]').focus()")
            press(page, Keys.ARROW_RIGHT)
            at(page, "request-headers")
            page.shows("[role=tabpanel]", "text/plain")
            press(page, Keys.END)
            at(page, "request-hex")
            press(page, Keys.ARROW_RIGHT)
            at(page, "request-body")
            page.run("document.querySelector('[data-key=replay]').focus()")
            press(page, Keys.ENTER)
            page.shows("#detail-pane .facts", "replay")
            at(page, "replay")  # another exchange stands there: Enter sends again
            press(page, Keys.ESCAPE)
            at(page, "rows")
            assert page.driver.current_url.endswith("#/")
            press(page, "s")
            page.shows("#status-pane", "Session")
            press(page, "/")
            at(page, "filter")
            press(page, Keys.ESCAPE, "?")
            page.wait(lambda: page.all("#help[open]"))
            assert page.run("return document.activeElement.textContent") == "Close"
            press(page, Keys.ENTER)
            page.wait(lambda: not page.all("#help[open]"))
            press(page, "/", "nothing like it")
            page.shows("#none", "No request fits")

        await browse(steps)
        assert [head.target for head in upstream.seen] == [b"/echo"]


async def test_when_the_agent_has_gone_nothing_is_called_online() -> None:
    opened, gone = threading.Event(), threading.Event()

    def steps(url: str, page: Page) -> None:
        page.open(url)
        page.shows("#state", "online")
        opened.set()
        assert gone.wait(20)
        page.shows("#state", "no answer")
        page.shows("#offline", "does not answer")
        page.problems()

    async with trio.open_nursery() as nursery:
        async with open_inspection() as it:
            nursery.start_soon(browse, partial(steps, it.inspector.login_url))
            assert await trio.to_thread.run_sync(opened.wait, 30)
        gone.set()


async def test_har_files_out_and_in_by_the_menu(tmp_path: Path) -> None:
    async with open_inspection() as it:
        it.send(request("GET", "/first", extra="Cookie: sid=canary\r\n"), answer(b"1"))
        it.send(request("GET", "/second"), answer(b"2"))

        def steps(page: Page) -> None:
            allowed = {"behavior": "allow", "downloadPath": str(tmp_path)}
            page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
            page.open(it.inspector.login_url)
            page.wait(lambda: len(page.all(".row")) == 2)
            page.run("document.getElementById('menu').focus()")
            press(page, Keys.ENTER, Keys.TAB, Keys.TAB, Keys.TAB)
            at(page, "har-import")
            press(page, Keys.ESCAPE)
            at(page, "menu")
            assert page.all("#har-menu[hidden]")
            press(page, Keys.ENTER, Keys.TAB, Keys.ENTER)
            at(page, "menu")
            file = tmp_path / "ngrokc.har"
            page.wait(file.is_file)
            text = file.read_text()
            assert [entry["response"]["status"] for entry in json.loads(text)["log"]["entries"]] == [200, 200]
            assert "canary" not in text
            page.click("#clear")
            page.wait(lambda: not page.all(".row"))
            page.click("#menu")
            page.one("#har-import").send_keys(str(file))
            page.wait(lambda: len(page.all(".row")) == 2)
            page.shows("#toast", "2 imported")
            live = page.text("#rows")
            page.driver.refresh()
            page.shows("#rows", "/first")
            assert page.text("#rows") == live  # the same order after a reload
            har = json.loads(text)
            har["log"]["entries"] = har["log"]["entries"][:1]
            har["log"]["entries"][0]["startedDateTime"] = "2001-02-03T12:00:00Z"
            file.write_text(json.dumps(har))
            page.one("#har-import").send_keys(str(file))
            page.shows("#rows .row:last-child", "2001-02-03 ")
            page.press("j")
            page.shows("#detail-pane", "imported from a HAR file")
            for key in ("replay", "times", "edit"):
                button = page.one(f"[data-key={key}]")
                assert not button.is_enabled()
                assert "from a file" in button.get_attribute("title")
            page.press("re")
            assert not page.all("dialog[open]")
            page.click("#menu")
            page.click("#detail-pane h1")
            assert page.all("#har-menu[hidden]")
            wrong = tmp_path / "wrong.har"
            wrong.write_text('{"log": 1')
            page.one("#har-import").send_keys(str(wrong))
            page.shows("#toast", "this is no HAR file")
            (refusal,) = page.problems()
            assert "status of 400" in refusal

        await browse(steps)
