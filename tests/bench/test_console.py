"""Every page there is has its time in the bench of the console, none that was refused, and its pictures."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from api.pages.pages import ROUTERS
from bench.console_browser import SIGNED_OUT, PageFailed, check_answer, list_addresses
from bench.console_data import Filled
from tools.console_shots import SIZES

FILLED = Filled("t", 1, 1, 1, 1, "ana_1", "ana_2", "que_1", "whk_1", "mdl_1", "job_1", "vid_1", "bat_1")
NO_PAGES = {
    "/",  # leads to the first page
    "/static/{digest}/{name}",  # scripts and styles
    "/sign-in/provider",  # leads to the provider, and back from it
    "/sign-in/callback",
    "/decisions.csv",  # a file
    "/policies/preview",  # fields of the page of policies
    "/r/{analysis_id}/lanes",  # what scripts of the review page ask for, and the video itself
    "/r/{analysis_id}/regions",
    "/r/{analysis_id}/quality",
    "/r/{analysis_id}/faces/{segment}",
    "/r/{analysis_id}/video",
    "/videos/retention/{class_name}/remove",  # asks what /videos/retention/set asks, in the same words
}
PICTURE_FOLDER = Path(__file__).parents[2] / "docs/images/console"
PICTURES = {
    "/sign-in": "sign-in",
    "/r/{analysis_id}": "review",
    "/queue": "queues",
    "/queue/{queue_id}": "queue",
    "/known": "known",
    "/decisions": "decisions",
    "/results": "results",
    "/results/export": "export",
    "/jobs": "jobs",
    "/jobs/{job_id}": "job",
    "/batches/{batch_id}": "batch",
    "/policies": "policies",
    "/policies/{policy}/apply": "apply",
    "/models": "models",
    "/models/compare": "compare",
    "/models/rescore": "rescore",
    "/models/calibrations": "calibrations",
    "/models/rollback": "rollback",
    "/models/{model}": "model",
    "/models/{model}/promote": "promote",
    "/verdicts": "verdicts",
    "/videos": "videos",
    "/videos/retention": "retention",
    "/videos/retention/set": "retain",
    "/videos/{video_id}": "video",
    "/videos/{video_id}/classify": "classify",
    "/upload": "upload",
    "/webhooks": "webhooks",
    "/webhooks/{webhook_id}": "webhook",
    "/keys": "keys",
    "/people": "people",
    "/audit": "audit",
    "/audit/check": "audit-check",
    "/status": "health",
}
# What no page above shows: a new secret, a review that hides its scores, and an address of nothing.
OTHER_PICTURES = ("secret", "blind", "fault")


def list_pages() -> list[str]:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return [route.path for route in routes if "GET" in route.methods and route.path not in NO_PAGES]


def test_every_page_of_the_console_is_timed():
    timed = [address.partition("?")[0] for _, address in (*list_addresses(FILLED), *SIGNED_OUT)]
    patterns = {path: re.sub(r"\{\w+\}", "[^/]+", path) for path in list_pages()}
    assert [path for path, each in patterns.items() if not any(re.fullmatch(each, t) for t in timed)] == []


def test_every_page_of_the_console_has_its_picture_at_each_width():
    assert [path for path in list_pages() if path not in PICTURES] == []
    wanted = {f"{name}-{width}.webp" for name in (*PICTURES.values(), *OTHER_PICTURES) for width in SIZES}
    assert {path.name for path in PICTURE_FOLDER.iterdir()} == wanted


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:1/audit?actor=usr_1", 403),
        ("http://127.0.0.1:1/audit?actor=usr_1", 500),
        ("http://127.0.0.1:1/sign-in?next=%2Faudit", 200),
    ],
)
def test_a_page_that_was_refused_ends_the_bench(url: str, status: int):
    with pytest.raises(PageFailed, match="/audit"):
        check_answer("/audit?actor=usr_1", url, status)


def test_a_page_that_was_given_is_timed():
    check_answer("/audit?actor=usr_1", "http://127.0.0.1:1/audit?actor=usr_1", 200)
