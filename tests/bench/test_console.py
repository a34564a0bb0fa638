"""The bench of the console times every page there is, and no page that was refused."""

import re

import pytest
from fastapi.routing import APIRoute

from api.pages.pages import ROUTERS
from bench.console_browser import SIGNED_OUT, PageFailed, check_answer, list_addresses
from bench.console_data import Filled

FILLED = Filled("t", 1, 1, 1, 1, "ana_1", "ana_2", "que_1", "whk_1", "mdl_1", "job_1", "vid_1", "bat_1")
NO_PAGES = {
    "/",  # leads to the first page
    "/static/{digest}/{name}",
    "/sign-in/provider",
    "/sign-in/callback",
    "/decisions.csv",
    "/policies/preview",  # fields of the page of policies
    "/r/{analysis_id}/lanes",
    "/r/{analysis_id}/regions",
    "/r/{analysis_id}/faces/{segment}",
    "/r/{analysis_id}/video",
    "/videos/retention/{class_name}/remove",  # asks what /videos/retention/set asks, in the same words
}


def list_pages() -> list[str]:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return [route.path for route in routes if "GET" in route.methods and route.path not in NO_PAGES]


def test_every_page_of_the_console_is_timed():
    timed = [address.partition("?")[0] for _, address in (*list_addresses(FILLED), *SIGNED_OUT)]
    patterns = {path: re.sub(r"\{\w+\}", "[^/]+", path) for path in list_pages()}
    assert [path for path, each in patterns.items() if not any(re.fullmatch(each, t) for t in timed)] == []


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
