"""The commands that go over the API alone: policies, models, reviews, webhooks, erasures, keys and usage."""

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from typer.main import get_command

from engine.policy import PRESETS
from fakesieve.__main__ import COMMANDS, Command
from fakesieve.objects import VideoRef
from fakesieve.records.models import ensure_model, store_model_policy
from fakesieve.records.policies import ensure_policy
from fakesieve.records.videos import record_source
from fakesieve.values.videos import SourceKind
from tests.api.cli.conftest import Remote
from tests.api.results import store_results
from tests.factories import MODEL

CLI_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_a_policy_is_made_previewed_and_applied(remote: Remote) -> None:
    store_results(remote.database, remote.tenant_id)
    made = remote.run("policy", "create", "newsroom", "--low", "0.25", "--high", "0.6", "--json").lines()[0]
    assert (made["name"], made["version"], made["is_active"]) == ("newsroom", 1, False)
    named = remote.run("policy", "preview", "newsroom", "--json").lines()[0]
    tried = remote.run("policy", "preview", "--low", "0.25", "--high", "0.6", "--json").lines()[0]
    assert (named["moved_count"], named["counts"]) == (tried["moved_count"], tried["counts"])
    assert "hours of review" in remote.run("policy", "preview", "newsroom").out
    assert remote.run("policy", "apply", "newsroom", "--dry-run").code == 0
    listed = remote.run("policy", "list", "--csv").out.splitlines()
    assert "newsroom@1,0.25,0.6,0.1,2,false," in listed
    done = remote.run("policy", "apply", "newsroom", "--json").lines()[0]
    assert (done["judged"], done["moved"]) == (3, named["moved_count"])
    assert "newsroom@1,0.25,0.6,0.1,2,true," in remote.run("policy", "list", "--csv").out.splitlines()
    # Until a host says which policy the model brings.
    assert re.search(
        r"stay, as not known +3, by mdl_\w+\n", remote.run("policy", "apply", "-", "--dry-run").out
    )
    with remote.database.transaction(tenant_id=None) as session:
        model_id, policy_id = ensure_model(session, MODEL), ensure_policy(session, PRESETS["balanced"])
        store_model_policy(session, model_id, policy_id)
    foreseen = remote.run("policy", "apply", "-", "--dry-run", "--json").lines()[0]
    back = remote.run("policy", "apply", "-", "--json").lines()[0]
    assert (back["policy"], back["judged"], back["moved"]) == ("-", 3, foreseen["moved_count"])
    assert back["moved"] == named["moved_count"]
    assert "newsroom@1,0.25,0.6,0.1,2,false," in remote.run("policy", "list", "--csv").out.splitlines()


def test_rules_that_cannot_be_are_refused_before_they_are_sent(remote: Remote) -> None:
    ran = remote.run("policy", "create", "wrong", "--low", "0.6", "--high", "0.2")
    assert (ran.code, ran.err.splitlines()[0]) == (1, "error: INVALID_REQUEST: low is over high")
    assert remote.run("policy", "preview").code == 2


def test_models_are_used_compared_and_given_back(remote: Remote, models) -> None:
    old, new = models["ab"], models["cd"]
    remote.run("policy", "create", "split", "--low", "0.1", "--high", "0.4", "--min-peak-frames", "1")
    remote.run("policy", "apply", "split")
    assert {line["id"] for line in remote.run("models", "list", "--json").lines()} == {old, new}
    assert remote.run("models", "promote", old).code == 0
    assert remote.run("models", "shadow", new, "--json").lines()[0]["aliases"] == ["shadow"]
    compared = remote.run("models", "compare", "champion", "shadow", "--json").lines()[0]
    assert (compared["videos"], compared["flip_count"]) == (2, 1)
    would = remote.run(
        "rescore", "--model", "shadow", "--filter", "outcome != no_face", "--dry-run", "--json"
    )
    assert would.lines()[0]["videos"] == 1
    shown = remote.run("rescore", "--model", "shadow", "--dry-run", "--diff").out
    assert ("would score" in shown, "likely_manipulated -> inconclusive  1" in shown) == (True, True)
    assert remote.run("rescore", "--model", old, "--dry-run").code == 4
    with remote.database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE source SET bucket = 'elsewhere'"))
    lost = remote.run("rescore", "--model", "shadow", "--dry-run")
    assert lost.code == 4
    assert re.search(r"would score +0\b", lost.out)
    assert re.search(r"out of reach +1\b", lost.out)
    with remote.database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE source SET bucket = 'videos'"))
    ran = remote.run("rescore", "--model", "shadow")
    assert (ran.code, "ENGINE_UNAVAILABLE" in ran.err) == (1, True)
    assert remote.run("models", "promote", new).code == 0
    would = remote.run("models", "rollback", "--dry-run").out
    assert re.search(rf"champion would go back to +\S+ \w+ {old}\n", would)
    assert re.search(rf"from +\S+ \w+ {new}\n", would)
    assert remote.run("models", "rollback", "--json").lines()[0]["id"] == old


def test_work_is_taken_from_a_queue_and_decided(remote: Remote, long_undo: None) -> None:
    nothing = remote.run("review", "next")
    assert (nothing.code, "nothing waits for review" in nothing.err) == (4, True)
    store_results(remote.database, remote.tenant_id)
    remote.caller.post("/v1/review-queues", {"name": "likely", "rule": {"score_min": 0.48}})
    item = remote.run("review", "next", "likely", "--json").lines()[0]
    assert item["state"] == "claimed"
    assert f"/r/{item['analysis_id']}" in remote.run("review", "next", "likely").out
    bare = remote.run("review", "decide", item["id"], "confirmed_manipulated", "--reason", "other")
    assert (bare.code, "'other' needs a comment" in bare.err) == (1, True)
    decided = remote.run(
        *("review", "decide", item["id"], "confirmed_manipulated", "--reason", "visible_artefacts", "--json")
    )
    assert decided.lines()[0]["disposition"] == "confirmed_manipulated"
    assert remote.run("review", "undo", item["id"], "--json").lines()[0]["state"] == "claimed"
    assert remote.run("review", "release", item["id"], "--json").lines()[0]["state"] == "open"
    remote.run("review", "next", "likely")
    skipped = remote.run("review", "skip", item["id"], "--reason", "needs_expert", "--json")
    assert skipped.lines()[0]["state"] == "open"
    assert "likely" in remote.run("review", "queues").out


def test_a_webhook_is_made_tried_and_removed(remote: Remote) -> None:
    url = "https://hooks.example.com/x"
    made = remote.run("webhooks", "create", url, "--event", "job.succeeded", "--json").lines()[0]
    assert (made["secret"][:6], made["event_types"]) == ("whsec_", ["job.succeeded"])
    sent = remote.run("webhooks", "test", made["id"], "--json").lines()[0]
    assert remote.run("webhooks", "deliveries", "--json").lines() == [sent]
    assert remote.run("webhooks", "deliveries", "--state", "failed").code == 4
    assert remote.run("webhooks", "redeliver", "--failed", made["id"]).code == 4
    with remote.database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE webhook_delivery SET state = 'failed', end_time = now()"))
    would = remote.run("webhooks", "redeliver", "--failed", made["id"], "--dry-run")
    assert would.out == f"{sent['id']}  would be sent again  webhook.test\n"
    assert remote.run("webhooks", "redeliver", sent["id"], "--json").lines()[0]["state"] == "pending"
    assert remote.run("webhooks", "redeliver").code == 2
    assert "whsec" not in remote.run("webhooks", "list").out
    assert remote.run("webhooks", "enable", made["id"]).code == 0
    assert remote.run("webhooks", "remove", made["id"], "--dry-run").code == 0
    assert remote.run("webhooks", "remove", made["id"]).out == f"{made['id']}  removed  {url}\n"
    assert remote.run("webhooks", "list", "--json").out == ""
    for command in (["redeliver", "--dry-run", "--failed"], ["redeliver", "--failed"], ["remove"]):
        ran = remote.run("webhooks", *command, made["id"])
        assert (ran.code, ran.err.split(": ")[1], made["id"] in ran.err) == (1, "NOT_FOUND", True), command


@pytest.fixture
def video(remote: Remote) -> str:
    store_results(remote.database, remote.tenant_id)
    return remote.caller.get("/v1/videos", external_id="high").json()["data"][0]["id"]


def test_nothing_is_erased_unasked(remote: Remote, video: str, monkeypatch) -> None:
    looked = remote.run("erase", video, "--dry-run")
    assert (looked.code, looked.out, video in looked.err) == (0, "", True)
    ran = remote.run("erase", video)
    assert (ran.code, "add --yes, or look first with --dry-run" in ran.err) == (1, True)
    assert remote.caller.get(f"/v1/videos/{video}").status_code == 200
    assert remote.run("erase", video, "vid_none", "--yes").code == 1
    assert remote.caller.get(f"/v1/videos/{video}").status_code == 200


@pytest.mark.parametrize(
    ("options", "also"), [((), "but not its objects"), (("--with-sources",), "and its objects")]
)
def test_what_goes_and_what_stays_is_said_before_an_erasure(
    remote: Remote, video: str, options: tuple[str, ...], also: str
) -> None:
    with remote.database.transaction(tenant_id=remote.tenant_id) as session:
        session.execute(text("DELETE FROM source WHERE video_id = :id"), {"id": video})
        size = session.scalar(text("SELECT size_bytes FROM video WHERE id = :id"), {"id": video})
        for key, kind in (("up/a.mp4", SourceKind.UPLOAD), ("in/b.mp4", SourceKind.API)):
            ref = VideoRef("videos", key)
            record_source(session, tenant_id=remote.tenant_id, video_id=video, ref=ref, kind=kind)
    said = remote.run("erase", video, "--dry-run", *options).err
    uploads, objects = "s3://videos/up/a.mp4", "s3://videos/in/b.mp4"
    assert said == f"{video}  {size} bytes, with its uploads {uploads}, {also} {objects}\n"


def test_an_erasure_leaves_its_receipt_in_a_file(remote: Remote, video: str, tmp_path) -> None:
    path = tmp_path / "receipts.jsonl"
    ran = remote.run("erase", video, "--yes", "--receipt", str(path), "--json")
    assert ran.code == 0, ran.err
    (receipt,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (receipt["video_id"], receipt["state"]) == (video, "completed")
    assert len(receipt["sha256"]) == 64
    assert ran.lines() == [receipt]
    assert remote.caller.get(f"/v1/videos/{video}").status_code == 404


def test_what_may_be_erased_is_erased_and_told_beside_what_may_not(remote: Remote, video: str) -> None:
    held = remote.caller.get("/v1/videos", external_id="middle").json()["data"][0]["id"]
    since = remote.caller.post(f"/v1/videos/{held}:hold").json()["hold_time"]
    looked = remote.run("erase", held, video, "--dry-run").err.splitlines()
    assert looked[0] == f"{held}  stays: it is under a legal hold since {since[:19].replace('T', ' ')} UTC"
    assert looked[1].startswith(f"{video}  10 bytes")
    ran = remote.run("erase", held, video, "--yes", "--json")
    assert ran.code == 1
    assert [line["video_id"] for line in ran.lines()] == [video]
    assert ran.err.splitlines()[-2].startswith(f"error: LEGAL_HOLD: {held}: ")


def test_keys_of_the_tenant_are_made_rotated_and_revoked(remote: Remote, app_client: TestClient) -> None:
    def whoami(secret: str) -> int:
        return app_client.get("/v1/whoami", headers={"Authorization": f"Bearer {secret}"}).status_code

    made = remote.run("keys", "create", "--name", "nightly", "--scope", "jobs:read", "--json").lines()[0]
    assert (made["tenant"], whoami(made["key"])) == (remote.tenant_id, 200)
    next_ = remote.run("keys", "rotate", made["id"], "--overlap-h", "0", "--json").lines()[0]
    assert whoami(next_["key"]) == 200
    assert remote.run("keys", "revoke", next_["id"]).out == f"{next_['id']} is revoked\n"
    assert whoami(next_["key"]) == 401
    assert "nightly" in remote.run("keys", "list", "--csv").out
    assert remote.run("keys", "create", "--scope", "nonsense").code == 2
    assert remote.run("keys", "create").out.startswith("fsk_")


def test_usage_is_told_by_day(remote: Remote) -> None:
    assert remote.run("usage").out.startswith("live jobs   0\nthis month  0.0 minutes")
    assert remote.run("usage", "--days", "2", "--json").lines()[0]["object"] == "usage"
    assert remote.run("usage", "--csv").out.splitlines()[0] == "day,jobs,video_ms"


def list_options(target: str) -> dict[str, set[str]]:
    """The options of a command, or of each command of a group."""
    found = get_command(Command(target, "").load())
    members = getattr(found, "commands", {"": found})
    return {
        name: {option for parameter in member.params for option in parameter.opts if option.startswith("--")}
        for name, member in members.items()
    }


@pytest.mark.parametrize("name", sorted(name for name, command in COMMANDS.items() if command.over_api))
def test_both_ways_of_a_command_take_the_same(name: str) -> None:
    command = COMMANDS[name]
    direct, over_api = list_options(command.target), list_options(str(command.over_api))
    assert list(direct) == list(over_api)
    section = CLI_PAGE.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    for member, options in direct.items():
        # Who has the database says for whom; who has a key is somebody already.
        assert options - over_api[member] <= {"--tenant", "--place"}, member
    assert [each for options in over_api.values() for each in options if each not in section] == []
