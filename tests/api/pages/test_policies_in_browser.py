"""The page of policies in a real Chromium: sliders, exact fields, and applying on a narrow screen."""

import re
import secrets

import pytest
from playwright.sync_api import Page, expect

from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.records.policies import create_policy, find_policy_line
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import enter
from tests.api.pages.stage import Scene, make_scene
from tests.factories import MEDIA


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}", media=MEDIA)


def fill_and_read(page: Page, label: str, value: str) -> dict[str, float]:
    """Set a field of the policies' page and return what the server then tells, once the page shows it."""
    with page.expect_response(lambda answer: "/policies/preview" in answer.url) as waited:
        page.get_by_label(label, exact=True).fill(value)
    told = waited.value.json()
    for name, count in told.items():
        shown = re.compile(f"^{count:g}$" if isinstance(count, float) else f"^{count:,}$")
        expect(page.locator(f"[data-told={name}]")).to_have_text(shown)
    return told


def test_sliders_tell_what_would_move_and_what_is_kept_can_be_applied(page: Page, own: Scene):
    enter(page, own, UserRole.ADMIN, "/policies")
    expect(page.locator("[data-told=analyses]")).to_have_text("1")
    for name, value in (("lower", "0.05"), ("upper", "0.1"), ("upper", "0.99"), ("lower", "0.9")):
        told = fill_and_read(page, f"{name} threshold, as a slider", value)
    assert told["analyses"] == 1
    page.get_by_label("name").fill("strict-here")
    page.get_by_role("button", name="Keep as a policy").click()
    expect(page.get_by_role("status").first).to_contain_text("The policy is kept.")
    page.get_by_role("link", name="Apply … strict-here@1").click()
    page.get_by_role("link", name="Leave it as it is").click()
    expect(page.locator("main")).to_contain_text("Each model's own policy judges now.")
    page.get_by_role("link", name="Apply … strict-here@1").click()
    page.get_by_role("button", name="Apply strict-here@1").click()
    expect(page.get_by_role("status").first).to_contain_text("The policy judges from now on.")
    expect(page.locator("main")).to_contain_text("Judging now: strict-here@1.")


def test_what_is_typed_is_previewed_and_kept_to_the_last_digit(
    page: Page, own: Scene, module_database: Database
):
    enter(page, own, UserRole.ADMIN, "/policies?low=0.447")
    lower = page.get_by_label("lower threshold", exact=True)
    expect(lower).to_have_value("0.447")
    fill_and_read(page, "upper threshold", "0.4499")
    assert fill_and_read(page, "frames at the peak", "2")["likely_after"] == 0
    assert fill_and_read(page, "frames at the peak", "1")["likely_after"] == 1
    fill_and_read(page, "least coverage", "0.255")
    expect(lower).to_have_value("0.447")
    expect(page.locator("main")).to_contain_text(
        "Keep lower 0.447, upper 0.4499, least coverage 0.255 and 1 as frames at the peak"
    )
    page.get_by_label("name").fill("exact")
    page.get_by_role("button", name="Keep as a policy").click()
    expect(page.get_by_role("status").first).to_contain_text("The policy is kept.")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        line = find_policy_line(session, "exact")
    assert line is not None
    assert line.policy == Policy("exact", 1, 0.447, 0.4499, min_coverage=0.255, min_peak_frames=1)


def test_rules_that_cannot_be_are_said_in_place_of_counts(page: Page, own: Scene):
    enter(page, own, UserRole.ADMIN, "/policies")
    page.get_by_label("upper threshold", exact=True).fill("0.1")
    expect(page.locator("#what-if-message")).to_contain_text("the lower threshold lies over the upper one")
    expect(page.locator("[data-told=moved]")).to_have_text("–")
    fill_and_read(page, "upper threshold", "0.4")
    expect(page.locator("#what-if-message")).to_be_empty()


def test_on_a_narrow_screen_policies_are_applied_without_moving_the_table(
    page: Page, own: Scene, module_database: Database
):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        policy = Policy("press-desk", 1, low=0.2, high=0.8)
        create_policy(session, own.tenant_id, policy, "as agreed with the desk " * 5, actor="usr_ana")
    page.set_viewport_size({"width": 390, "height": 844})
    enter(page, own, UserRole.ADMIN, "/policies")
    links = page.get_by_role("link", name=re.compile("^Apply … "))
    expect(links).to_have_count(4)  # of three presets and its own
    for link in links.all():
        place = link.bounding_box()
        assert place is not None
        assert place["x"] > 0
        assert place["x"] + place["width"] <= 390
    page.get_by_role("link", name="Apply … press-desk@1").click()
    page.get_by_role("button", name="Apply press-desk@1").click()
    expect(page.locator("main")).to_contain_text("Judging now: press-desk@1.")
