"""``fakesieve demo`` with the model that is shipped: it finds the forgery that it made, where it made it."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import av
import cv2
import httpx2
import numpy as np
import pytest
from playwright.sync_api import expect
from standardwebhooks.webhooks import Webhook

from engine.demo.assets import CLIPS
from engine.demo.clips import END_US, START_US
from fakesieve.embedded.run_folder import RunFolder
from fakesieve.object_stores.select import open_objects
from fakesieve.settings import read_settings
from tests.api.pages.browsing import launch, open_page
from tests.assets import pyfeat_clip
from tests.documents import check_document
from tests.e2e.blocks import IN_FLEET, Block, list_blocks, read_lines
from tests.e2e.processes import run
from tests.e2e.walk import add_receiver, make_distinct, preview_policy, review_next, sign_in, upload, watch
from tests.receivers import LOCAL_NETWORKS, receiving
from tests.waiting import PATIENCE_S, wait_until

FORGED, SOURCE = "WolfgangLanger_forged", "WolfgangLanger_Pexels"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The command's output and its folder; the clips are there already, so that nothing is fetched."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "clips").mkdir()
    for name in CLIPS:
        (folder / "clips" / name).write_bytes(pyfeat_clip(name).read_bytes())
    # Wide enough for any folder of a test run: on a narrow terminal a long path is folded within its name.
    return run("demo", "--out", folder, COLUMNS="400"), folder


def document(folder: Path, stem: str) -> dict:
    return check_document(json.loads((folder / f"{stem}.json").read_text()))


def test_it_ends_well_and_says_what_is_forged_and_by_whom(demo) -> None:
    done, _ = demo
    assert done.returncode == 0, done.stderr
    assert "forged in WolfgangLanger_forged.mp4: from 0:06.0 to 0:14.0, by this program" in done.stdout
    assert all(name in done.stdout for name in CLIPS)


def test_every_input_has_document_overlay_and_page(demo) -> None:
    _, folder = demo
    stems = [Path(name).stem for name in CLIPS] + [FORGED]
    for stem in stems:
        kind = "jpg" if stem == "multi_face" else "mp4"
        for name in (f"{stem}.json", f"{stem}.overlay.{kind}", f"{stem}.report.html"):
            assert (folder / name).stat().st_size > 500, name


class Links(HTMLParser):
    """The targets of a page's links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [str(value) for name, value in attrs if tag == "a" and name == "href"]


def test_the_index_leads_to_all_of_them_and_owns_up_to_the_forgery(demo) -> None:
    _, folder = demo
    html = (folder / "index.html").read_text()
    targets = Links(html).targets
    assert len(targets) == 12
    assert [target for target in targets if not (folder / target).is_file()] == []
    assert "this program itself has swapped the face" in html
    assert "Made by this program" in (folder / f"{FORGED}.report.html").read_text()


def test_the_forged_copy_scores_higher_than_its_source(demo) -> None:
    _, folder = demo
    forged, source = document(folder, FORGED), document(folder, SOURCE)
    assert forged["score"]["raw"] > source["score"]["raw"] + 0.3
    assert source["verdict"]["value"] != "likely_manipulated"


def test_the_suspicious_span_is_the_forged_one(demo) -> None:
    _, folder = demo
    spans = [s for s in document(folder, FORGED)["segments"] if s["kind"] == "suspicious"]
    inside = sum(max(0, min(span["end_us"], END_US) - max(span["start_us"], START_US)) for span in spans)
    outside = sum(span["end_us"] - span["start_us"] for span in spans) - inside
    assert inside >= 0.7 * (END_US - START_US)
    assert outside <= 0.2 * (END_US - START_US)


def frames_at(path: Path, times_us: list[int]) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        frames = {
            round(f.pts * base * 1_000_000): f.to_ndarray(format="rgb24") for f in container.decode(video=0)
        }
    known = np.array(list(frames))
    return [frames[int(known[np.abs(known - time).argmin()])] for time in times_us]


def test_hot_cells_lie_on_what_was_changed(demo) -> None:
    """The truth is what differs between source and copy, not what the program says of itself."""
    _, folder = demo
    with np.load(folder / f"{FORGED}.npz") as archive:
        columns = dict(archive)
    rows = [i for i, t in enumerate(columns["pts_us"]) if START_US + 300_000 <= t < END_US - 300_000]
    times = [int(columns["pts_us"][row]) for row in rows]
    pairs = zip(
        rows,
        frames_at(folder / "clips" / f"{SOURCE}.mp4", times),
        frames_at(folder / "clips" / f"{FORGED}.mp4", times),
        strict=True,
    )
    hits = shares = 0.0
    for row, old, new in pairs:
        share, chance = overlap(columns, row, np.abs(old.astype(int) - new).max(axis=2).astype(np.float32))
        hits, shares = hits + share, shares + chance
    assert hits / len(rows) > 0.6
    assert hits > 2 * shares  # far more than cells drawn at random would hit


def overlap(columns: dict[str, np.ndarray], row: int, difference: np.ndarray) -> tuple[float, float]:
    """Share of the hottest cells that were changed, and the share of all cells that were."""
    patches, size = columns["patches"][row], int(columns["crop_size"])
    grid = len(patches)
    affine = columns["to_frame"][row].astype(np.float64)
    crop = cv2.warpAffine(
        cv2.GaussianBlur(difference, (0, 0), 4), cv2.invertAffineTransform(affine), (size, size)
    )
    changed = cv2.resize(crop, (grid, grid), interpolation=cv2.INTER_AREA) > 12
    hottest = patches >= np.sort(patches.ravel())[-12]
    return float(changed[hottest].mean()), float(changed.mean())


def test_the_overlay_draws_the_map_on_the_forged_face(demo) -> None:
    _, folder = demo
    (track,) = document(folder, FORGED)["tracks"][:1]
    frames = [f for f in track["frames"] if f["score"] is not None and f["patch_area"] > 0.05]
    hot = [f for f in frames if START_US <= f["pts_us"] < END_US]
    assert hot
    best = max(hot, key=lambda frame: frame["patch_area"])
    ((drawn,), (plain,)) = (
        frames_at(folder / f"{FORGED}.overlay.mp4", [best["pts_us"]]),
        frames_at(folder / "clips" / f"{FORGED}.mp4", [best["pts_us"]]),
    )
    pink = (drawn[:360, :, 0].astype(int) - drawn[:360, :, 1]) - (
        plain[..., 0].astype(int) - plain[..., 1]
    ) > 60
    ys, xs = np.nonzero(pink)
    box = best["box"]
    inside = (xs / 640 >= box["x"] - 0.05) & (xs / 640 <= box["x"] + box["w"] + 0.05)
    inside &= (ys / 360 >= box["y"] - 0.05) & (ys / 360 <= box["y"] + box["h"] + 0.05)
    assert len(xs) > 1000
    assert inside.mean() > 0.9


@pytest.fixture(scope="module")
def kept_fleet(demo) -> Iterator[tuple[str, Path]]:
    """What 'demo-fleet --keep' printed, and the folder of the fleet that goes on."""
    _, folder = demo
    with tempfile.TemporaryDirectory(prefix="fakesieve-kept-") as name:
        fleet = Path(name, "fleet")
        fleet.parent.chmod(0o755)  # Postgres does not run as root, and must enter its folder
        networks = ",".join(LOCAL_NETWORKS)  # where the walk's receiver of webhooks is
        done = run(
            *("demo-fleet", "--out", folder, "--keep", fleet),
            timeout=4 * PATIENCE_S,
            FAKESIEVE_WEBHOOK_NETWORKS=networks,
        )
        try:
            assert done.returncode == 0, done.stderr
            assert "$ fakesieve submit" in done.stderr
            yield done.stdout, fleet
        finally:
            run("down", "--dir", fleet, timeout=PATIENCE_S)


def test_its_clips_score_in_a_fleet_as_they_do_alone(kept_fleet) -> None:
    said, _ = kept_fleet
    assert "likely_manipulated" in said  # the row that the database gave
    assert "the fleet's scores are those of scan: largest difference" in said


def read_form(said: str) -> dict[str, str]:
    """What to sign in with, as the command printed it."""
    return dict(re.findall(r"^  (organisation|e-mail|password)\s+(\S+)$", said, re.M))


def test_the_forged_clip_is_seen_in_the_browser_as_it_says(kept_fleet) -> None:
    """The last of the newcomer's three commands, and what a person does with the text that it prints."""
    said, fleet = kept_fleet
    page = re.search(r"http://127.0.0.1:\d+/r/ana_\w+", said)[0]
    form = read_form(said)
    with httpx2.Client(follow_redirects=True, headers={"accept": "text/html"}, timeout=PATIENCE_S) as browser:
        asked = browser.get(page)
        hidden = dict(re.findall(r'name="([\w-]+)"[^>]*value="([^"]*)"', asked.text))
        fields = {"organisation": form["organisation"], "email": form["e-mail"], "password": form["password"]}
        address = str(asked.url.copy_with(path="/sign-in", query=None))
        origin = address.removesuffix("/sign-in")
        shown = browser.post(address, data=hidden | fields, headers={"origin": origin})
    assert (shown.status_code, str(shown.url)) == (200, page)
    assert FORGED in shown.text
    assert "likely manipulated" in shown.text
    assert "Nobody holds this." in shown.text  # a queue has it, so it can be decided
    assert f"fakesieve down --dir {fleet}" in said


def test_the_two_clips_go_through_the_console_from_upload_to_decision(
    demo, kept_fleet, tmp_path: Path
) -> None:
    """Upload, watch, review by keyboard, a look at another policy; and a receiver hears of it."""
    said, fleet = kept_fleet
    _, folder = demo
    clips = [
        make_distinct(folder / "clips" / f"{stem}.mp4", tmp_path / f"{stem}.mp4") for stem in (SOURCE, FORGED)
    ]
    address = RunFolder(fleet).read_environment()["FAKESIEVE_API_URL"]
    with receiving() as receiver, launch() as browser, open_page(browser, address) as page:
        sign_in(page, read_form(said))
        hook, heard = Webhook(add_receiver(page, receiver.url)), {}

        def list_told() -> list[tuple[str, object]]:
            """Each message once, as it may come again; at once, as its signature holds for five minutes."""
            for each in tuple(receiver.messages):
                if each.headers["webhook-id"] not in heard:
                    heard[each.headers["webhook-id"]] = hook.verify(each.body, dict(each.headers))
            return [(event["type"], event["data"].get("analysis_id")) for event in heard.values()]

        shown = {}
        for stem, job in zip((SOURCE, FORGED), upload(page, clips), strict=True):
            watch(page, job)
            list_told()
            shown[stem] = page.locator("main").inner_text()
            expect(page.locator("#timeline")).to_be_visible()
        assert "likely manipulated" in shown[FORGED]
        assert "likely manipulated" not in shown[SOURCE]
        reviewed = review_next(page)  # the queue has the highest score first
        expect(page.get_by_role("region", name="History")).to_contain_text("manipulated")
        told = preview_policy(page, high="0.999", low="0.99")
        assert told["likely_after"] < told["likely_before"] <= told["analyses"]

        wait_until(lambda: len(list_told()) >= 3, list_told)
        kinds = [kind for kind, _ in list_told()]
        assert sorted(kinds) == ["job.succeeded", "job.succeeded", "review.decided"]
        assert ("review.decided", reviewed.rpartition("/")[2]) in list_told()


@pytest.fixture(scope="module")
def fleet_user(kept_fleet) -> Path:
    """A folder that has the fleet as ``fleet`` and as ``D``, and the files and objects that pages name."""
    _, fleet = kept_fleet
    folder = fleet.parent
    (folder / "D").symlink_to(fleet)
    clip = folder / "clip.mp4"
    clip.write_bytes(pyfeat_clip("single_face.mp4").read_bytes())
    (folder / "list.csv").write_text("uri\ns3://videos/incoming/clip.mp4\n")
    (folder / "videos.csv").write_text("uri,external_id\ns3://videos/day-1/clip.mp4,case 7\n")
    (folder / "today.jsonl").write_text('{"uri": "s3://videos/day-1/clip.mp4"}\n')
    keys = {"incoming/clip.mp4": clip, "day-1/clip.mp4": clip, "lists/today.jsonl": folder / "today.jsonl"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in RunFolder(fleet).read_environment().items():
            patch.setenv(name, value)
        objects = open_objects(read_settings())
    for key, path in keys.items():
        objects.upload(path, "videos", key)
    return folder


@pytest.mark.parametrize("block", list_blocks(IN_FLEET, "shell"), ids=str)
def test_the_commands_that_pages_show_of_a_fleet_run(fleet_user: Path, block: Block) -> None:
    """The fleet is there already, and what starts and ends one is tested in test_up.py."""
    job_id = "none was submitted"
    for line in read_lines(block):
        if line.startswith(("pip install", "fakesieve up", "fakesieve down")):
            continue
        command = line.replace("JOB_ID", job_id)
        done = run_in_shell(fleet_user, f"source fleet/env && {command}")
        assert done.returncode in (0, 3), (line, done.stderr)
        job_id = (re.findall(r"job_[0-9a-z]{26}", done.stdout) or [job_id])[0]


def run_in_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run what a page tells people to type, with this environment's command."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
