"""A real Chromium for tests of the pages, and what people do with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fakesieve.values.people import UserRole
from tests.api.pages.stage import PASSWORD, Scene
from tests.waiting import PATIENCE_S

NAMES = ("chromium", "chromium-browser", "google-chrome")
FAR_HOSTS = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
WAIT_MS = 1000 * PATIENCE_S


def find_chromium() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(NAMES)} is installed")
    return found


@contextmanager
def launch() -> Iterator[Browser]:
    path = find_chromium()
    with sync_playwright() as driver:
        # A sandbox of its own needs rights that containers lack; the pages are ours and nothing else loads.
        arguments = [FAR_HOSTS] + (["--no-sandbox"] if os.geteuid() == 0 else [])
        browser = driver.chromium.launch(executable_path=path, args=arguments, timeout=WAIT_MS)
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Browser, address: str) -> Iterator[Page]:
    """A page whose scripts made no mistake, and that broke no rule of its own policy."""
    context = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
    yield page
    context.close()
    assert faults == []


def enter(page: Page, scene: Scene, role: UserRole, to: str) -> None:
    page.goto(f"/sign-in?next={quote(to)}")
    for field, value in (
        ("organisation", scene.tenant),
        ("email", scene.email(role)),
        ("password", PASSWORD),
    ):
        page.locator(f"#{field}").fill(value)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: urlsplit(url).path != "/sign-in")


def focus(page: Page, name: str) -> None:
    """Press Tab until the element of a name has the focus."""
    page.wait_for_load_state()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.textContent || '').trim()") == name:
            return
    raise AssertionError(f"{name} cannot be reached with Tab")


def focus_field(page: Page, name: str) -> None:
    """Press Tab until the field of a name has the focus."""
    page.wait_for_load_state()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name || ''") == name:
            return
    raise AssertionError(f"the field {name} cannot be reached with Tab")


def choose(page: Page, label: str) -> None:
    """Go down the list that has the focus to the choice whose label begins so.

    Typing the label would do it too, unless a busy machine takes a second from one letter to the next.
    """
    for _ in range(60):
        if page.evaluate("document.activeElement.selectedOptions[0].label").lower().startswith(label):
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"no choice begins with {label}")
