"""The page of policies: what it previews is what it shows, keeps and, asked twice, applies."""

import html
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from engine.policy import PRESETS, Policy, decide
from fakesieve.database import Database
from fakesieve.policy_changes import change_policy
from fakesieve.records.analyses import AnalysisRecord, store_analysis
from fakesieve.records.models import ModelFacts, ensure_model, store_model_policy
from fakesieve.records.policies import create_policy, ensure_policy, find_policy_line, show_active_policy
from fakesieve.records.standings import Standing
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token, make_scene
from tests.factories import MODEL, make_record, make_score, make_track, make_video

PEAKED = {"low": "0.30", "high": "0.447", "min_coverage": "0.05", "min_peak_frames": "1"}
"""Rules under which one frame is enough. The scores of the scene are 0.45 and 0.4."""
COMPACT = Policy("lv-compact", 1, low=0.52, high=0.93, extrapolated=True)


@pytest.fixture
def own(module_database: Database) -> Scene:
    """A tenant with two analyses, each of whose scores one frame of two alone reaches."""
    scene = make_scene(module_database, f"tenant-{secrets.token_hex(4)}")
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        video_id = make_video(session, scene.tenant_id, "lower")
        lower = make_score(0.8, tracks=(make_track(0, (0.7, 0.8)),))
        store_analysis(session, make_record(scene.tenant_id, video_id, score=lower))
    return scene


def keep(database: Database, own: Scene, policy: Policy, note: str | None = None) -> None:
    with database.transaction(tenant_id=own.tenant_id) as session:
        create_policy(session, own.tenant_id, policy, note, actor="usr_ana")


def count_verdicts(database: Database, own: Scene) -> Mapping[str | None, int]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        held = session.scalars(select(Standing.verdict)).all()
    return Counter(None if verdict is None else str(verdict) for verdict in held)


def judge(record: AnalysisRecord, policy: Policy) -> AnalysisRecord:
    """Return a record as a model that brings a policy makes it."""
    return replace(record, policy=policy, verdict=decide(record.score, policy))


def read_fields(page: str) -> dict[str, str]:
    """Return what the fields of the form that shows rules hold."""
    form = page.split('id="what-if-form"', 1)[1].split("</form>", 1)[0]
    return dict(re.findall(r'<input type="number" name="(\w+)"[^>]* value="([^"]*)"', form))


def read_kept(page: str) -> dict[str, str]:
    """Return what the form that keeps them holds."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" data-copy="\w+" value="([^"]*)"', page))


def read_told(page: str) -> dict[str, str]:
    """Return the counts of the page."""
    return dict(re.findall(r'data-told="(\w+)">([^<]*)<', page))


def test_rules_are_previewed_kept_and_applied_with_the_same_numbers(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    page = client.get("/policies", params=PEAKED).text
    assert read_fields(page) == read_kept(page) == PEAKED
    assert {name: read_told(page)[name] for name in ("moved", "likely_after")} == {
        "moved": "1",
        "likely_after": "1",
    }
    form = {**read_kept(page), "form_token": find_token(page), "name": "desk"}
    assert "The policy is kept." in client.post("/policies", data=form).text
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        line = find_policy_line(session, "desk@1")
    assert line is not None
    assert line.policy == Policy("desk", 1, 0.3, 0.447, min_coverage=0.05, min_peak_frames=1)
    applied = client.post("/policies/desk@1/apply", data={"form_token": find_token(page)}).text
    assert "Verdicts that have moved: 1." in applied
    assert count_verdicts(module_database, own) == {"likely_manipulated": 1, "inconclusive": 1}
    # It judges now, so the page begins with it: nothing moves, and no digit of it is lost.
    assert read_fields(applied) == read_kept(applied) == PEAKED
    assert read_told(applied)["moved"] == "0"


def test_a_listed_policy_is_tried_by_its_own_rules(client: TestClient, own: Scene, module_database: Database):
    listed = Policy("listed", 1, low=0.3, high=0.4475123, min_coverage=1.0, min_peak_frames=1)
    keep(module_database, own, listed)
    change_policy(
        module_database, own.tenant_id, Policy("active", 1, 0.2, 0.44, min_peak_frames=3), actor="usr_ana"
    )
    enter(client, own, UserRole.VIEWER)
    page = client.get("/policies").text
    assert read_fields(page)["min_peak_frames"] == "3"
    link = re.search(r'href="([^"]*)">try<span class="unseen"> listed@1<', page)
    assert link is not None
    tried = client.get(html.unescape(link[1])).text
    assert read_fields(tried) == {
        "low": "0.30",
        "high": "0.4475123",
        "min_coverage": "1.00",
        "min_peak_frames": "1",
    }
    assert read_told(tried)["likely_after"] == "1"
    live = client.get("/policies/preview", params=read_fields(tried)).json()
    assert {name: f"{count:,}" for name, count in live.items()} == read_told(tried)


@pytest.fixture
def bring(module_database: Database) -> Iterator[Callable[[ModelFacts, Policy], str]]:
    """Says, as a host does, which policy a model brings, and returns its id; taken back behind the test."""
    said = list[str]()

    def say(model: ModelFacts, policy: Policy) -> str:
        with module_database.transaction(tenant_id=None) as session:
            said.append(ensure_model(session, model))
            store_model_policy(session, said[-1], ensure_policy(session, policy))
        return said[-1]

    yield say
    with module_database.transaction(tenant_id=None) as session:
        for model_id in said:
            store_model_policy(session, model_id, ensure_policy(session, PRESETS["balanced"]))


def test_the_page_begins_with_the_rules_that_a_model_brings_before_and_after_others_judge(
    client: TestClient, module_database: Database, bring: Callable[[ModelFacts, Policy], str]
):
    bring(MODEL, COMPACT)
    own = make_scene(
        module_database, f"tenant-{secrets.token_hex(4)}", change=lambda each: judge(each, COMPACT)
    )
    enter(client, own, UserRole.VIEWER)
    page = client.get("/policies").text
    assert (read_fields(page)["low"], read_fields(page)["high"]) == ("0.52", "0.93")
    assert read_told(page)["moved"] == "0"
    (row,) = re.findall(r"<tr><td>lv-compact@1.*", page)
    assert row.startswith(
        '<tr><td>lv-compact@1 <span class="badge">judges now</span></td><td class="number">0.52<'
    )
    change_policy(module_database, own.tenant_id, PRESETS["balanced"], actor="usr_ana")
    page = client.get("/policies").text
    assert (read_fields(page)["low"], read_fields(page)["high"]) == ("0.30", "0.70")
    (row,) = re.findall(r"<tr><td>lv-compact@1.*", page)  # what the model brings can still be tried
    assert row.startswith('<tr><td>lv-compact@1</td><td class="number">0.52</td><td class="number">0.93</td>')
    change_policy(module_database, own.tenant_id, None, actor="usr_ana")
    page = client.get("/policies").text
    assert (read_fields(page)["low"], read_fields(page)["high"]) == ("0.52", "0.93")
    assert "There are several" not in page


def test_of_several_models_the_page_begins_with_the_rules_that_judge_most(
    client: TestClient,
    own: Scene,
    module_database: Database,
    bring: Callable[[ModelFacts, Policy], str],
):
    brought, model = Policy("other", 1, low=0.2, high=0.6), ModelFacts("other", "f" * 64, "onnx", "fp32")
    bring(MODEL, COMPACT)
    bring(model, brought)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        video_id = make_video(session, own.tenant_id, "third")
        record = make_record(own.tenant_id, video_id, policy=brought, model=model, fingerprint="pipeline-2")
        store_analysis(session, record)
    enter(client, own, UserRole.VIEWER)
    page = client.get("/policies").text
    assert "begin with the one by which most of what is stored is judged, lv-compact@1." in page
    assert (read_fields(page)["low"], read_fields(page)["high"]) == ("0.52", "0.93")
    link = re.search(r'href="([^"]*)">try<span class="unseen"> other@1<', page)
    assert link is not None
    tried = read_fields(client.get(html.unescape(link[1])).text)
    assert (tried["low"], tried["high"]) == ("0.20", "0.60")


def test_of_two_models_with_one_name_the_policy_of_that_row_is_applied(
    client: TestClient, own: Scene, module_database: Database
):
    with module_database.transaction(tenant_id=None) as session:
        for digit, low in (("1", 0.21), ("2", 0.22)):
            model_id = ensure_model(session, ModelFacts("twin", digit * 64, "onnx", "fp32"))
            policy_id = ensure_policy(session, Policy("twin", 1, low=low, high=0.6))
            store_model_policy(session, model_id, policy_id)
    enter(client, own, UserRole.ADMIN)
    page = client.get("/policies").text
    rows = dict(re.findall(r'<tr><td>twin@1.*?class="number">(0\.2\d)<.*\n.*href="([^"]*/apply)"', page))
    assert sorted(rows) == ["0.21", "0.22"]
    for low, link in rows.items():
        asked = client.get(link).text
        assert f"<dt>lower threshold</dt><dd>{low}</dd>" in asked
        form = re.search(r'action="([^"]*/apply)"', asked)
        assert form is not None
        assert form[1] == link


def test_another_tenants_policy_that_bears_a_models_name_is_not_shown(
    client: TestClient, own: Scene, module_database: Database
):
    other = make_scene(module_database, f"tenant-{secrets.token_hex(4)}")
    named = Policy("lv-compact", 1, low=0.1234, high=0.5)  # as an earlier release let it be kept
    change_policy(module_database, other.tenant_id, named, actor="usr_ana")
    enter(client, own, UserRole.VIEWER)
    assert "0.1234" not in client.get("/policies").text


def test_the_asking_page_counts_what_applying_then_moves(
    client: TestClient, own: Scene, module_database: Database
):
    keep(
        module_database,
        own,
        Policy("desk", 1, low=0.425, high=0.44, min_coverage=0, min_peak_frames=1),
        "as <b>agreed",
    )
    before = count_verdicts(module_database, own)
    enter(client, own, UserRole.ADMIN)
    page = client.get("/policies").text
    assert '<a class="button quiet" href="/policies/desk%401/apply">' in page
    asked = client.get("/policies/desk@1/apply").text
    assert "1 of 2 stored verdicts moves" in asked
    assert '<td>inconclusive</td><td>likely manipulated</td><td class="number">1</td>' in asked
    assert "For people to look at, as likely manipulated or inconclusive: 2 now, then 2." in asked
    assert "as &lt;b&gt;agreed" in asked
    assert count_verdicts(module_database, own) == before
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert show_active_policy(session, own.tenant_id) is None
    applied = client.post("/policies/desk@1/apply", data={"form_token": find_token(asked)}).text
    assert "Verdicts that have moved: 1." in applied
    assert count_verdicts(module_database, own) == {"likely_manipulated": 1, "inconclusive": 1}
    again = client.get("/policies/desk@1/apply").text
    assert "It judges already." in again
    assert "None of the 2 stored verdicts moves." in again


def test_an_admin_goes_back_to_each_models_own_policy(
    client: TestClient,
    own: Scene,
    module_database: Database,
    bring: Callable[[ModelFacts, Policy], str],
):
    bring(MODEL, PRESETS["balanced"])
    before = count_verdicts(module_database, own)
    desk = Policy("desk", 1, low=0.425, high=0.44, min_coverage=0, min_peak_frames=1)
    change_policy(module_database, own.tenant_id, desk, actor="usr_ana")
    assert count_verdicts(module_database, own) != before
    enter(client, own, UserRole.ADMIN)
    assert '<a class="button quiet" href="/policies/-/apply">' in client.get("/policies").text
    asked = client.get("/policies/-/apply").text
    assert "Judge by each model's own policy?" in html.unescape(asked)
    assert "Judging now: desk@1." in asked
    assert "1 of 2 stored verdicts moves" in asked
    applied = client.post("/policies/-/apply", data={"form_token": find_token(asked)}).text
    assert "Verdicts that have moved: 1." in applied
    # A change that was cut off is completed so.
    assert "Apply each model's own policy again" in html.unescape(applied)
    assert "another policy than that of" not in applied
    assert count_verdicts(module_database, own) == before
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert show_active_policy(session, own.tenant_id) is None
    enter(client, own, UserRole.REVIEWER)
    assert client.get("/policies/-/apply").status_code == 403


def test_the_page_says_what_stays_as_its_models_policy_is_not_known(
    client: TestClient,
    own: Scene,
    module_database: Database,
    bring: Callable[[ModelFacts, Policy], str],
):
    bring(MODEL, PRESETS["balanced"])
    silent = ModelFacts("silent<b>", "e" * 64, "onnx", "fp32")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        video_id = make_video(session, own.tenant_id, "third")
        store_analysis(session, make_record(own.tenant_id, video_id, model=silent, fingerprint="pipeline-2"))
    enter(client, own, UserRole.ADMIN)
    named = 'silent&lt;b&gt;</bdi></a> <span class="mono small">eeeeeeeeeeee</span>'
    assert f"{named} it is not known, as no host has said it: 1 stored" in client.get("/policies").text
    change_policy(module_database, own.tenant_id, PRESETS["strict"], actor="usr_ana")
    asked = client.get("/policies/-/apply").text
    assert "1 of them stays as it stands: which policy its model brings is not known" in asked
    assert f"{named}. Run the model on a host, and apply this again." in asked
    applied = client.post("/policies/-/apply", data={"form_token": find_token(asked)}).text
    told = "Verdicts that stay as they stood, as no host has said which policy their model brings: 1."
    assert told in html.unescape(applied)
    assert f"{named} it is not known, as no host has said it: 1 stored verdict stays as it stands" in applied
    bring(silent, Policy("silent", 1, low=0.2, high=0.6))
    page = client.get("/policies").text
    assert "it is not known" not in page
    assert "1 stored verdict stands by another policy than that of its model." in page
    link = re.search(r'href="([^"]*)">Apply each model', page)
    assert link is not None
    asked = client.get(link[1]).text
    client.post(link[1], data={"form_token": find_token(asked)})
    assert "another policy than that of" not in client.get("/policies").text


def test_only_admins_are_asked(client: TestClient, own: Scene):
    enter(client, own, UserRole.REVIEWER)
    assert "/apply" not in client.get("/policies").text
    assert client.get("/policies/strict@1/apply").status_code == 403


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"low": "0.5"}, "the lower threshold lies over the upper one"),
        ({"low": "0"}, "the lower threshold is a number over 0"),
        ({"high": ""}, "the upper threshold is a number over 0"),
        ({"high": "nan"}, "the upper threshold is a number over 0"),
        ({"min_coverage": "1.5"}, "the least coverage is a number from 0 to 1"),
        ({"min_peak_frames": "0"}, "the frames at the peak are a whole number from 1"),
        ({"min_peak_frames": "1.5"}, "the frames at the peak are a whole number from 1"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_words(
    client: TestClient, own: Scene, module_database: Database, change: Mapping[str, str], words: str
):
    enter(client, own, UserRole.ADMIN)
    token = find_token(client.get("/policies").text)
    rules = {**PEAKED, **change}
    live = client.get("/policies/preview", params=rules, headers={"Accept": "application/json"})
    answers = [
        client.get("/policies", params=rules),
        client.post("/policies", data={**rules, "form_token": token, "name": "desk"}),
    ]
    assert [each.status_code for each in answers] == [422, 422]
    assert all(words in html.unescape(each.text) for each in answers)
    assert (live.status_code, words in live.json()["detail"]) == (422, True)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert find_policy_line(session, "desk") is None


def test_a_rule_that_is_not_sent_is_not_guessed(client: TestClient, own: Scene):
    """A page of an earlier release sends two; the API's defaults would be rules that nobody has seen."""
    enter(client, own, UserRole.ADMIN)
    token = find_token(client.get("/policies").text)
    form = {"low": "0.3", "high": "0.6", "form_token": token, "name": "desk"}
    assert client.post("/policies", data=form).status_code == 422
    assert client.get("/policies/preview?low=0.3&high=0.6").status_code == 422


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "../x"}, "a policy has a name of 1 to 64 letters"),
        ({"note": "x" * 1001}, "a note has 1,000 letters"),
    ],
)
def test_a_name_or_note_that_cannot_be_is_refused_with_words(
    client: TestClient, own: Scene, change: Mapping[str, str], words: str
):
    enter(client, own, UserRole.ADMIN)
    token = find_token(client.get("/policies").text)
    answer = client.post("/policies", data={**PEAKED, "form_token": token, "name": "desk", **change})
    assert (answer.status_code, words in html.unescape(answer.text)) == (422, True)
