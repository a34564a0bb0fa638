"""What a person does in the console of a whole fleet, in a real Chromium."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.api.pages.browsing import choose, focus

# An empty box at the end of an MP4 file: other bytes, so that the fleet screens the same pictures anew.
_FREE_BOX = b"\x00\x00\x00\x10free" + 8 * b"\x00"


def make_distinct(clip: Path, out: Path) -> Path:
    """Copy an MP4 file so that it shows the same and has another hash."""
    out.write_bytes(clip.read_bytes() + _FREE_BOX)
    return out


def sign_in(page: Page, form: dict[str, str]) -> None:
    """Sign in with what a command printed."""
    page.goto("/sign-in")
    for field, name in (("organisation", "organisation"), ("email", "e-mail"), ("password", "password")):
        page.locator(f"#{field}").fill(form[name])
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: urlsplit(url).path != "/sign-in")


def add_receiver(page: Page, url: str) -> str:
    """Have all events told to a receiver; return the secret that signs them."""
    page.goto("/webhooks")
    page.locator("#url").fill(url)
    page.get_by_role("button", name="Add it and show its secret").click()
    return page.locator("#secret").inner_text()


def upload(page: Page, clips: list[Path]) -> list[str]:
    """Send videos from the browser to the store; return the addresses of their jobs."""
    page.goto("/upload")
    page.locator("#files").set_input_files(clips)
    links = page.get_by_role("link", name="is queued: see its job")
    expect(links).to_have_count(len(clips))
    return [str(link.get_attribute("href")) for link in links.all()]


def watch(page: Page, job: str) -> None:
    """Look at a job's page, which loads itself again, until its analysis can be opened; then open it."""
    page.goto(job)
    link = page.get_by_role("link", name="To the review page")
    expect(link).to_be_visible()
    link.click()
    page.wait_for_url("**/r/ana_*")


def review_next(page: Page) -> str:
    """Confirm the next item of the queue as manipulated, by keyboard alone; return its address."""
    page.goto("/queue")
    focus(page, "Review the next")
    page.keyboard.press("Enter")
    page.wait_for_url("**/r/ana_*")
    address = page.url
    page.keyboard.press("1")
    page.keyboard.press("r")
    choose(page, "artefacts")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=decided**")
    return address


def preview_policy(page: Page, high: str, low: str) -> dict[str, float]:
    """Move the sliders of the policy page and return what it says would change."""
    page.goto("/policies")
    told: dict[str, float] = {}
    for slider, value in (("high", high), ("low", low)):
        with page.expect_response(lambda answer: "/policies/preview" in answer.url) as waited:
            page.locator(f"#{slider}").fill(value)
        told = waited.value.json()
    expect(page.locator("[data-told=analyses]")).to_have_text(re.compile(f"^{told['analyses']:,}$"))
    return told
