"""Make the pictures of the console for the documentation, from videos that a real fleet has screened.

Usage: python tools/console_pictures.py EARLIER_MODEL [PICTURE_FOLDER] [--png FOLDER]

Starts a fleet in a temporary folder twice: with an earlier model and with the one that is shipped, so that
there is something to compare, and clips that the earlier one alone has screened, to be scored again. Needs
the clips of ``fakesieve demo`` in demo-out, Chromium, and ImageMagick's formats as OpenCV brings them.
EARLIER_MODEL is a folder with another bundle of weights.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from engine.bundle import load_bundle
from fakesieve.cli.demo_fleet import Shell
from fakesieve.database import open_database
from fakesieve.embedded.fleet import TENANT
from fakesieve.embedded.run_folder import RunFolder
from fakesieve.people.accounts import create_user
from fakesieve.records.tenants import ensure_tenant
from fakesieve.values.people import UserRole
from tools.console_shots import READY, SIZES, Album, open_empty

PASSWORD = "correct horse battery"
PEOPLE = {UserRole.ADMIN: "Ada", UserRole.REVIEWER: "Ravi"}
NETWORKS = "127.0.0.0/8"


def main() -> None:
    """Screen, fill the console as people would, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("earlier", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/images/console"))
    parser.add_argument("--png", type=Path, help="keep them as PNG too, to look at")
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    if load_bundle(given.earlier).weights_sha256 == load_bundle().weights_sha256:
        parser.error(f"{given.earlier} has the weights that are shipped: give the folder of other ones")
    clips = [*sorted(Path("demo-out/clips").glob("*.mp4")), *given.clips]
    place = Path(tempfile.mkdtemp(prefix="fakesieve-pictures-"))
    place.chmod(0o755)  # Postgres does not run as root, and must enter its folder
    try:
        with run_fleet(place, str(given.earlier)) as environment:
            screen(environment, [*clips, *sorted(Path("demo-out/clips").glob("*.mov"))])
        with run_fleet(place, None) as environment, receive() as hook:
            submit_again(environment, screen(environment, clips), place / "again.jsonl")
            add_people(environment)
            take_pictures(environment["FAKESIEVE_API_URL"], hook, Album(given.folder, given.png))
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def run_fleet(place: Path, model: str | None) -> Iterator[dict[str, str]]:
    """Run a fleet in the folder during the block; gives the environment that reaches it."""
    settings = {"FAKESIEVE_WEBHOOK_NETWORKS": NETWORKS} | (
        {} if model is None else {"FAKESIEVE_MODEL": model}
    )
    folder, shell = RunFolder(place / "fleet"), Shell({**os.environ, **settings})
    shell.run("up", "--dir", str(folder.path), "--detach")
    try:
        yield dict(os.environ) | folder.read_environment()
    finally:
        shell.run("down", "--dir", str(folder.path))


def screen(environment: dict[str, str], clips: list[Path]) -> list[str]:
    """Submit the clips as one list, wait for all of them and return their jobs."""
    shell = Shell(environment)
    told = shell.run("submit", *map(str, clips), "--json").splitlines()
    jobs = [json.loads(line)["job_id"] for line in told]
    shell.run("watch", *jobs, accepted=(0, 3))
    return jobs


def submit_again(environment: dict[str, str], jobs: list[str], manifest: Path) -> None:
    """Submit what the jobs took as one batch; it is answered by what was found already."""
    shell = Shell(environment)
    shown = [json.loads(line) for line in shell.run("jobs", "show", *jobs, "--json").splitlines()]
    lines = [json.dumps({"uri": job["source"]}) + "\n" for job in shown]
    manifest.write_text("".join(lines), encoding="utf-8")
    with chdir(manifest.parent):  # a batch is called as its list was named
        told = json.loads(shell.run("submit", "--manifest", manifest.name, "--json").splitlines()[0])
    shell.run("watch", told["batch_id"], accepted=(0, 3))


def add_people(environment: dict[str, str]) -> None:
    """Make an admin and a reviewer."""
    with closing(open_database(environment["FAKESIEVE_DATABASE_URL"], connections_max=1)) as database:
        with database.transaction(tenant_id=None) as session:
            tenant_id = ensure_tenant(session, TENANT)
        for role, name in PEOPLE.items():
            with database.transaction(tenant_id=tenant_id) as session:
                create_user(
                    session, tenant_id, email=f"{name.lower()}@example.com", name=name, role=role,
                    password=PASSWORD, actor="tools",
                )  # fmt: skip


@contextmanager
def receive() -> Iterator[str]:
    """A receiver of webhooks on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/fakesieve"
    server.shutdown()


def take_pictures(address: str, hook: str, album: Album) -> None:
    """Fill the console and take each page at each width."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        page = enter(browser, address, UserRole.ADMIN, 1440)
        pages = fill_console(page, hook, album)
        for width in SIZES:
            album.take(open_empty(browser, address, width), "/sign-in", f"sign-in-{width}")
            shown = enter(browser, address, UserRole.ADMIN, width)
            for name, path_of in pages.items():
                album.take(shown, path_of, f"{name}-{width}")
        kept, erased = (
            find_video(page, pages["review"]),
            find_video(page, find_result(page, "outcome=no_face")),
        )
        # Last, as it hides the scores of its videos from everybody who may still be asked.
        reviewer = enter(browser, address, UserRole.REVIEWER, 1440)
        reviewer.get_by_role("button", name="Review the next").last.click()
        reviewer.wait_for_url("**/r/ana_**")
        blind = reviewer.url.partition("?")[0].removeprefix(address)
        for width in SIZES:
            album.take(enter(browser, address, UserRole.REVIEWER, width), blind, f"blind-{width}")
        remove_videos(page, kept, erased)
        for width in SIZES:
            shown = enter(browser, address, UserRole.ADMIN, width)
            for name, path_of in {"videos": "/videos", "video": erased}.items():
                album.take(shown, path_of, f"{name}-{width}")
        browser.close()


def enter(browser: Browser, address: str, role: UserRole, width: int) -> Page:
    """Return a page of somebody."""
    page = open_empty(browser, address, width)
    page.goto("/sign-in")
    email = f"{PEOPLE[role].lower()}@example.com"
    for name, value in (("organisation", TENANT), ("email", email), ("password", PASSWORD)):
        page.locator(f"#{name}").fill(value)
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue")
    return page


def fill_console(page: Page, hook: str, album: Album) -> dict[str, str]:
    """Do what people do, through the pages, and return each page's address by its name."""
    page.get_by_label("Name").fill("Flagged")
    page.get_by_label("likely manipulated").check()
    page.get_by_label("inconclusive").check()
    page.get_by_role("button", name="Make the queue").click()
    make_queue(page, "Blind sample")
    flagged = page.get_by_role("link", name="Flagged").get_attribute("href") or ""
    page.goto(flagged)
    page.get_by_role("button", name="Take in new matches").click()
    page.wait_for_url("**done=filled**")
    forged, genuine = find_result(page, "score>0", "score desc"), find_result(page, "score>0")
    add_note(page, forged)
    declare_known(page, genuine)
    keep_filter(page)
    apply = keep_policy(page)
    webhook = add_webhook(page, hook)
    add_key(page, album)
    model, other = promote(page)
    add_classes(page)
    video = find_video(page, forged)
    page.goto("/jobs")
    job = page.locator("a[href^='/jobs/job_']").last.get_attribute("href") or ""
    batch = page.locator("a[href^='/batches/']").first
    pages = {
        "queues": "/queue", "queue": flagged, "review": forged, "decisions": "/decisions",
        "results": "/results?filter=score%3E0.1", "export": "/results/export?filter=score%3E0.1",
        "jobs": "/jobs", "job": job, "policies": "/policies", "apply": apply,
        "models": "/models", "model": model, "compare": "/models/compare", "promote": other,
        "rescore": f"/models/rescore?model={model.rpartition('/')[2]}",
        "calibrations": "/models/calibrations", "rollback": "/models/rollback?alias=champion",
        "classify": f"{video}/classify?retention_class=short",
        "retention": "/videos/retention",
        "retain": f"/videos/retention/set?{urlencode({'name': 'default', 'keep': 1, 'unit': 'seconds'})}",
        "upload": "/upload", "webhooks": "/webhooks", "webhook": webhook, "keys": "/keys",
        "people": "/people", "known": "/known", "audit": "/audit",
        "audit-check": "/audit/check?after=0", "health": "/status", "verdicts": "/verdicts",
        "fault": "/r/ana_none",
    }  # fmt: skip
    if batch.count():
        pages["batch"] = batch.get_attribute("href") or ""
    return pages


def make_queue(page: Page, name: str) -> None:
    """Make a queue that hides scores first."""
    page.get_by_text("Make a queue").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Blind first").check()
    page.get_by_role("button", name="Make the queue").click()
    page.wait_for_url("**done=made**")


def find_video(page: Page, review: str) -> str:
    """Return the page of the video of a review."""
    page.goto(review)
    link = page.get_by_role("link", name="Hold, delete or erase this video")
    return link.get_attribute("href") or ""


def remove_videos(page: Page, deleted: str, erased: str) -> None:
    """Delete one video, and erase another for good."""
    page.goto(deleted)
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete it").click()
    page.goto(erased)
    page.get_by_text("Erase now …").click()
    page.locator("#typed").fill(erased.rpartition("/")[2])
    page.get_by_role("button", name="Erase it for good").click()
    page.get_by_text("SHA-256, as in the audit log").wait_for()
    page.get_by_text("once it is completed").wait_for(state="detached")  # the page looks again by itself


def find_result(page: Page, kept: str, order: str = "score") -> str:
    """Return the review page of the first clip in an order that a filter keeps, by the newest model."""
    page.goto(f"/results?{urlencode({'filter': kept, 'order': order})}")
    return page.locator("a[href^='/r/ana_']").first.get_attribute("href") or ""


def add_note(page: Page, address: str) -> None:
    """Note a span on the review page."""
    page.goto(address)
    page.wait_for_function(READY)
    if not page.locator("#notes").get_attribute("open"):
        page.locator("#notes summary").click()
    page.locator("#note-start").fill("2.000")
    page.locator("#note-end").fill("4.500")
    page.locator("#note-text").fill("The mouth does not close with the words")
    page.get_by_role("button", name="Keep the note").click()
    page.wait_for_url("**done=noted**")


def declare_known(page: Page, address: str) -> None:
    """Declare that the truth of an analysis is known."""
    page.goto("/known")
    page.locator("#analysis").fill(address.partition("?")[0].rpartition("/")[2])
    page.locator("#truth").select_option("authentic")
    page.locator("#note").fill("the stock footage from which we made a forgery ourselves")
    page.get_by_role("button", name="Keep this truth").click()
    page.wait_for_url("**done=declared**")


def keep_filter(page: Page) -> None:
    """Keep a filter of results."""
    page.goto("/results?filter=score%3E0.1")
    page.get_by_text("Keep this filter").click()
    page.get_by_label("name").fill("above 0.1")
    page.get_by_role("button", name="Keep it").click()
    page.wait_for_url("**/results**")


def keep_policy(page: Page) -> str:
    """Keep a policy that moves the verdict of the forged clip, and return the page that asks to apply it."""
    page.goto(f"/policies?{urlencode({'low': 0.5, 'high': 0.995})}")
    page.get_by_label("name").fill("night-desk")
    page.get_by_label("note").fill("only what is as good as certain")
    page.get_by_role("button", name="Keep as a policy").click()
    page.wait_for_url("**done=kept**")
    return "/policies/night-desk@1/apply"


def add_webhook(page: Page, hook: str) -> str:
    """Add a webhook, have it tried out, and return its page."""
    page.goto("/webhooks")
    page.locator("#url").fill(hook)
    page.locator("#description").fill("the newsroom's desk")
    page.get_by_role("button", name="Add it and show its secret").click()
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_role("button", name="Send a test event").click()
    address = page.url.partition("?")[0]
    end = time.monotonic() + 60
    while not page.get_by_text("HTTP 204").count() and time.monotonic() < end:
        page.wait_for_timeout(500)
        page.reload()
    return "/webhooks/" + address.rpartition("/")[2]


def add_key(page: Page, album: Album) -> None:
    """Make a key of a program, and take the page that shows it; the key ends with the fleet."""
    page.goto("/keys")
    if not page.locator("#name").is_visible():
        page.get_by_text("Make a key").click()
    page.locator("#name").fill("nightly ingest")
    for scope in ("jobs:write", "jobs:read", "results:read"):
        page.locator(f"input[value='{scope}']").check()
    page.get_by_role("button", name="Make the key and show it").click()
    page.get_by_role("link", name="I have kept it").wait_for()
    album.take_at_each_width(page, "secret")
    page.get_by_role("link", name="I have kept it").click()


def promote(page: Page) -> tuple[str, str]:
    """Use the shipped model as champion and the earlier one as challenger; return addresses of two pages."""
    page.goto("/models")
    hosts = page.locator("table tbody tr .number")
    while "0" not in hosts.all_inner_texts():  # a host of the first fleet counts until two minutes after it
        page.wait_for_timeout(5000)
        page.reload()
    rows = [
        (row.locator("a").get_attribute("href") or "", row.locator(".number").inner_text())
        for row in page.locator("table tbody tr").all()
    ]
    now = next(address for address, hosts in rows if hosts != "0")
    before = next(address for address, hosts in rows if hosts == "0")
    # The earlier one is the champion first, so that there is one to go back to.
    for address, use in ((before, "champion"), (now, "champion"), (before, "challenger")):
        page.goto(f"{address}/promote?alias={use}")
        page.get_by_role("button", name=f"Use it as {use}").click()
        page.wait_for_url("**done=promoted**")
    return now, f"{before}/promote?alias=champion"


def add_classes(page: Page) -> None:
    """Make two retention classes that erase nothing."""
    for name, days in (("newsroom", 365), ("short", 30)):
        page.goto("/videos/retention")
        page.get_by_label("name").fill(name)
        page.get_by_label("keeps videos for").fill(str(days))
        page.get_by_role("button", name="See what that erases").click()
        page.get_by_role("button", name="Make it").click()
        page.wait_for_url("**done=set**")


if __name__ == "__main__":
    main()
