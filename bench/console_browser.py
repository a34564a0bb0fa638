"""What a browser sees of the console: how long pages take, and how much memory a long video needs."""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import psutil
from playwright.sync_api import Browser, Page, Playwright

from bench.console_data import Filled

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 120_000
JUMPS = 60
READY = "() => /^sample|^between/.test(document.querySelector('#sample')?.textContent || '')"
PIECE = "/faces/"


class PageFailed(Exception):
    """A page was not what was asked for, so that its time would say nothing of it."""


@dataclass(frozen=True)
class Loaded:
    """One page; milliseconds from the click, the first byte and the end of loading."""

    name: str
    address: str
    first_byte_ms: float
    best_ms: float
    median_ms: float
    worst_ms: float
    kilobytes: float


@dataclass(frozen=True)
class Stay:
    """What a long video costs."""

    samples: int
    faces: int
    ready_ms: float
    lanes_kb: float
    regions_kb: float
    piece_kb: float
    jumps: int
    jump_ms: float
    jump_worst_ms: float
    redraw_ms: float
    ready_mb: float
    end_mb: float
    server_mb: float


def launch(driver: Playwright) -> Browser:
    """Start the machine's Chromium. Raises FileNotFoundError without one."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return driver.chromium.launch(executable_path=path, args=arguments)


def open_page(browser: Browser, address: str) -> Page:
    """Return a page of somebody who has not signed in."""
    page = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(WAIT_MS)
    return page


def sign_in(browser: Browser, address: str, organisation: str, email: str, password: str) -> Page:
    """Return a page of somebody who has signed in."""
    page = open_page(browser, address)
    page.goto("/sign-in")
    for name, value in (("organisation", organisation), ("email", email), ("password", password)):
        page.locator(f"#{name}").fill(value)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue")
    return page


def list_addresses(filled: Filled) -> Sequence[tuple[str, str]]:
    """Return the pages by name."""
    regions = quote("tracks.regions.mouth>0.5 AND score>0.3")
    return (
        ("queues", "/queue"),
        ("items of a queue", f"/queue/{filled.queue_id}"),
        ("items of a queue, narrowed", f"/queue/{filled.queue_id}?score_min=0.6&region=mouth"),
        ("decisions", "/decisions"),
        ("results", "/results"),
        ("results by score", "/results?order=score+desc"),
        ("results by parts of faces", f"/results?filter={regions}"),
        ("export of results", "/results/export"),
        ("jobs", "/jobs"),
        ("a job", f"/jobs/{filled.job_id}"),
        ("a batch", f"/batches/{filled.batch_id}"),
        ("policies", "/policies"),
        ("use of a policy", "/policies/balanced@1/apply"),
        ("models", "/models"),
        ("a model", f"/models/{filled.model_id}"),
        ("comparison of two models", "/models/compare"),
        ("promotion of a model", f"/models/{filled.model_id}/promote?alias=champion"),
        ("roll-back of a model", "/models/rollback?alias=champion"),
        ("scoring again", "/models/rescore"),
        ("scoring again, counted", f"/models/rescore?model={filled.model_id}"),
        ("calibrations", "/models/calibrations"),
        ("upload", "/upload"),
        ("webhooks", "/webhooks"),
        ("a webhook", f"/webhooks/{filled.webhook_id}"),
        ("keys and usage", "/keys"),
        ("people", "/people"),
        ("videos", "/videos"),
        ("a video", f"/videos/{filled.video_id}"),
        ("class of a video", f"/videos/{filled.video_id}/classify"),
        ("retention", "/videos/retention"),
        ("change of a retention class", "/videos/retention/set?name=default&keep=90&unit=days"),
        ("analyses whose truth is known", "/known"),
        ("what a verdict means", "/verdicts"),
        ("audit log", "/audit"),
        ("check of the audit log", "/audit/check?after=0"),
        ("health", "/status"),
        ("review of a clip of 10 s", f"/r/{filled.short_id}"),
        ("review of a video of 3 h", f"/r/{filled.long_id}"),
    )


SIGNED_OUT = (("sign-in", "/sign-in"),)
"""Pages for whoever has not signed in; others are led away from there."""


def load_pages(page: Page, addresses: Sequence[tuple[str, str]], rounds: int) -> list[Loaded]:
    """Load every page a few times. Raises PageFailed for one that is refused or leads elsewhere."""
    lines = list[Loaded]()
    for name, address in addresses:
        lines.append(_load(page, name, address, rounds))
        print(f"{lines[-1].best_ms:6.0f} {lines[-1].median_ms:6.0f} ms  {name}", file=sys.stderr, flush=True)
    return lines


def check_answer(asked: str, url: str, status: int) -> None:
    """Raise PageFailed for an error, and for a page that is not the one at the address asked for."""
    if status != 200:
        raise PageFailed(f"{asked} answers {status}")
    found = urlsplit(url)
    if found.path != urlsplit(asked).path:
        raise PageFailed(f"{asked} leads to {found.path}")


def _load(page: Page, name: str, address: str, rounds: int) -> Loaded:
    times, firsts, sent = list[float](), list[float](), 0.0
    for turn in range(rounds + 1):
        answer = page.goto(address)
        if answer is None:
            raise PageFailed(f"{address} gives no answer")
        check_answer(address, page.url, answer.status)
        if address.startswith("/r/"):
            page.wait_for_function(READY)
            taken = float(page.evaluate("performance.now()"))
        else:
            taken = float(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        if turn:
            times.append(taken)
            firsts.append(float(page.evaluate("performance.getEntriesByType('navigation')[0].responseStart")))
        sent = float(page.evaluate(SENT)) / 1000
    return Loaded(
        name, address, statistics.median(firsts), min(times), statistics.median(times), max(times), sent
    )


SENT = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .reduce((sum, each) => sum + each.transferSize, 0)"""
SIZES = """() => Object.fromEntries(performance.getEntriesByType('resource')
  .map((each) => [new URL(each.name).pathname, each.decodedBodySize]))"""
# Sets the slider and waits until the boxes of that moment are drawn: something lies on the overlay.
JUMP = """async (seconds) => {
  const begun = performance.now();
  const seek = document.querySelector('#seek');
  seek.value = String(seconds * 1e6);
  seek.dispatchEvent(new Event('input'));
  const canvas = document.querySelector('#overlay');
  const read = () => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const isDrawn = () => read().some((b) => b);
  while (!isDrawn()) await new Promise((resolve) => setTimeout(resolve, 5));
  return performance.now() - begun;
}"""
# One redraw of the whole page's canvases, as each step of playing asks for.
REDRAW = """async () => {
  const seek = document.querySelector('#seek');
  const begun = performance.now();
  for (let i = 0; i < 50; i += 1) {
    seek.value = String(60e6 + i * 40000);
    seek.dispatchEvent(new Event('input'));
  }
  return (performance.now() - begun) / 50;
}"""


def stay_long(page: Page, address: str, seconds: int, server: "subprocess.Popen[bytes]") -> Stay:
    """Look at a long video from its beginning to its end."""
    page.goto(address)
    page.wait_for_function(READY)
    ready_ms = float(page.evaluate("performance.now()"))
    page.wait_for_timeout(2000)
    ready_mb = measure_renderers()
    redraw_ms = float(page.evaluate(REDRAW))
    places = [seconds * (2 * turn + 1) / (2 * JUMPS) for turn in range(JUMPS)]
    jumps = [float(page.evaluate(JUMP, place)) for place in places]
    page.wait_for_timeout(2000)
    sizes = page.evaluate(SIZES)
    pieces = [size for name, size in sizes.items() if PIECE in name and size]
    samples = int(page.locator("#sample").inner_text().split(" of ")[-1] or 0)
    tracks = page.locator(".face").count()
    return Stay(
        samples=samples,
        faces=samples * tracks,
        ready_ms=ready_ms,
        lanes_kb=_find(sizes, "/lanes"),
        regions_kb=_find(sizes, "/regions"),
        piece_kb=statistics.median(pieces) / 1000,
        jumps=len(jumps),
        jump_ms=statistics.median(jumps),
        jump_worst_ms=max(jumps),
        redraw_ms=redraw_ms,
        ready_mb=ready_mb,
        end_mb=measure_renderers(),
        server_mb=psutil.Process(server.pid).memory_info().rss / 1e6,
    )


def _find(sizes: dict[str, float], end: str) -> float:
    return next(size for name, size in sizes.items() if name.endswith(end)) / 1000


def measure_renderers() -> float:
    """Return the megabytes that the renderers of our Chromium have for themselves, the largest of them."""
    own = psutil.Process().children(recursive=True)
    renderers = [each for each in own if "--type=renderer" in each.cmdline()]
    return max(each.memory_full_info().uss for each in renderers) / 1e6
