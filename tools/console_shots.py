"""Take one page of the console as a picture, whole and when its scripts are done."""

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Page

SIZES = {1440: 900, 390: 844}
QUALITY = 60
WAIT_MS_MAX = 120_000
# Whether every frame of the strips of faces is drawn or says why not; a page without one is ready too.
DRAWN = "() => !document.querySelector('[data-thumb]:not([data-drawn], [data-undrawn])')"
READY = "() => /^sample|^between/.test(document.querySelector('#sample')?.textContent || '')"


@dataclass(frozen=True)
class Album:
    """Where pictures are kept: as WebP in the folder and, where one is named, as PNG to look at."""

    folder: Path
    png: Path | None

    def take(self, page: Page, address: str, name: str) -> None:
        """Open the address and take its page.

        Raises:
            OSError: the picture cannot be written
        """
        page.goto(address)
        if page.locator("#timeline").count():
            page.wait_for_function(READY)
            for link in page.locator("[data-thumb]").all():
                link.scroll_into_view_if_needed()  # frames are drawn when they are seen
            page.wait_for_function(DRAWN)
            page.evaluate("window.scrollTo(0, 0)")
        self.take_shown(page, name)

    def take_at_each_width(self, page: Page, name: str) -> None:
        """Take what the page shows at each width, and leave it at the first: for what no address shows again.

        Raises:
            OSError: a picture cannot be written
        """
        for width, height in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            # A page that is opened at a width shows its own place in the menu.
            page.locator(".top nav [aria-current]").scroll_into_view_if_needed()
            self.take_shown(page, f"{name}-{width}")
        width, height = next(iter(SIZES.items()))
        page.set_viewport_size({"width": width, "height": height})

    def take_shown(self, page: Page, name: str) -> None:
        """Take the whole of what the page shows now.

        Raises:
            OSError: the picture cannot be written
        """
        page.wait_for_timeout(300)
        page.add_style_tag(content=".decision { position: static !important; }")
        shot = page.screenshot(full_page=True)
        picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(self.folder / f"{name}.webp"), picture, [cv2.IMWRITE_WEBP_QUALITY, QUALITY]):
            raise OSError(f"{name} cannot be written")
        if self.png is not None:
            self.png.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(self.png / f"{name}.png"), picture)
        print(name, file=sys.stderr)


def open_empty(browser: Browser, address: str, width: int) -> Page:
    """Return a page of nobody."""
    size = {"width": width, "height": SIZES[width]}
    # Style is added: the bar of decisions sticks to the window's edge, and would cover what is below it.
    context = browser.new_context(base_url=address, viewport=size, color_scheme="light", bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS_MAX)
    return page
