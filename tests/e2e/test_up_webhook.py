"""``fakesieve up`` as people start it: jobs end, receivers are told by signed messages, videos are erased."""

import hashlib
import json
import os
import secrets
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fakesieve.cli.down import end_fleet
from fakesieve.embedded.run_folder import RunFolder
from fakesieve.object_stores.select import open_objects
from fakesieve.settings import read_settings
from tests.e2e.stores import search_fleet
from tests.receivers import LOCAL_NETWORKS, receiving
from tests.waiting import PATIENCE_S, wait_until
from tests.workers.conftest import draw_face


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunFolder]:
    """A fleet with all its processes, whose webhooks may reach this machine."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("FAKESIEVE_")}
    with tempfile.TemporaryDirectory(prefix="fakesieve-up-") as name:
        folder = RunFolder(Path(name))
        folder.path.chmod(0o755)
        command = [sys.executable, "-P", "-m", "fakesieve", "up", "--dir", name, "--detach"]
        changes = {"FAKESIEVE_WEBHOOK_NETWORKS": ",".join(LOCAL_NETWORKS), "FAKESIEVE_SLOTS": "1"}
        try:
            done = subprocess.run(
                command,
                env=inherited | changes,
                capture_output=True,
                text=True,
                check=False,
                timeout=3 * PATIENCE_S,  # it gives up after 600 s by itself, and says why
            )
            assert done.returncode == 0, done.stderr
            yield folder
        finally:
            end_fleet(folder)


@pytest.fixture(scope="module")
def caller(fleet: RunFolder) -> Iterator[httpx2.Client]:
    """A client with the fleet's own key, once the API answers."""
    values = fleet.read_environment()
    key = {"Authorization": f"Bearer {values['FAKESIEVE_API_KEY']}"}
    with httpx2.Client(base_url=values["FAKESIEVE_API_URL"], headers=key, timeout=PATIENCE_S) as client:
        wait_until(lambda: answers(client), (fleet.logs / "api.log").read_text)
        yield client


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def submit_junk(client: httpx2.Client) -> str:
    """Upload what is no video, as a caller does, and return the id of its job, which fails."""
    content = b"this is no video"
    asked = {"content_type": "video/mp4", "size_bytes": len(content), "name": "clip.mp4"}
    made = client.post("/v1/uploads", json=asked).json()
    form = made["form"]
    sent = httpx2.post(form["url"], data=form["fields"], files={"file": content}, timeout=PATIENCE_S)
    assert sent.status_code < 300, sent.text
    assert client.post(f"/v1/uploads/{made['id']}:complete").status_code == 200
    job = client.post("/v1/jobs", json={"upload_id": made["id"]})
    assert job.status_code == 202, job.text
    return str(job.json()["id"])


def test_each_process_of_the_fleet_runs(fleet: RunFolder, caller: httpx2.Client) -> None:
    assert set(fleet.read_pids()) == {
        *("up", "postgres", "valkey", "seaweedfs", "relay", "reconciler", "sender", "worker", "api")
    }


def ask_doctor(fleet: RunFolder) -> dict[str, tuple[str, str]]:
    """What the doctor says of each thing that it looks at: how it is, and what was seen."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "fakesieve", "doctor", "--json"],
        env=os.environ | fleet.read_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return {check["name"]: (check["status"], check["seen"]) for check in json.loads(done.stdout)}


def test_doctor_finds_every_service_of_the_fleet_well(fleet: RunFolder, caller: httpx2.Client) -> None:
    found: dict[str, tuple[str, str]] = {}

    def knows_a_worker() -> bool:  # the API may answer long before the worker has loaded its network
        found.update(ask_doctor(fleet))
        return found["workers"][0] == "ok"

    wait_until(knows_a_worker, (fleet.logs / "worker.log").read_text)
    services = ("database", "clock of the database", "workers", "invariants", "broker", "object store", "API")
    assert {name: found[name][0] for name in services} == dict.fromkeys(services, "ok")
    assert caller.get("/v1/whoami").json()["tenant_id"] in found["API"][1]
    assert "1 with 1 slots, on lv-compact" in found["workers"][1]


def test_a_receiver_is_told_of_a_job_and_can_verify_it(fleet: RunFolder, caller: httpx2.Client) -> None:
    with receiving() as receiver:
        made = caller.post("/v1/webhooks", json={"url": receiver.url, "event_types": ["job.failed"]})
        assert made.status_code == 201, made.text
        job_id = submit_junk(caller)
        wait_until(lambda: receiver.messages, (fleet.logs / "sender.log").read_text)
        message = receiver.messages[0]
        told = Webhook(made.json()["secret"]).verify(message.body, dict(message.headers))
    assert (told["type"], told["data"]["job_id"]) == ("job.failed", job_id)
    assert told["data"]["reason"] == "NOT_VIDEO"
    with pytest.raises(WebhookVerificationError):
        Webhook(made.json()["secret"]).verify(message.body + b" ", dict(message.headers))
    log = caller.get("/v1/webhooks/deliveries", params={"webhook_id": made.json()["id"]}).json()["data"]
    assert [line["event_id"] for line in log] == [message.headers["webhook-id"]]


def submit_marked(
    client: httpx2.Client, folder: RunFolder, path: Path, mark: str
) -> tuple[str, tuple[str, ...], tuple[str, str]]:
    """Have a video screened that a caller has uploaded and that lies in a place of theirs, too.

    Returns its id, the ids of its jobs, and the keys of both objects.
    """
    content = path.read_bytes()
    asked = {"content_type": "video/mp4", "size_bytes": len(content), "name": f"{mark}.mp4"}
    made = client.post("/v1/uploads", json=asked | {"sha256": hashlib.sha256(content).hexdigest()}).json()
    form = made["form"]
    sent = httpx2.post(form["url"], data=form["fields"], files={"file": content}, timeout=PATIENCE_S)
    assert sent.status_code < 300, sent.text
    assert client.post(f"/v1/uploads/{made['id']}:complete").status_code == 200
    theirs = f"incoming/{secrets.token_hex(8)}.mp4"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in folder.read_environment().items():
            patch.setenv(name, value)
        open_objects(read_settings()).upload(path, "videos", theirs)
    jobs: dict[str, str] = {}
    for source in ({"upload_id": made["id"]}, {"uri": f"s3://videos/{theirs}"}):
        job = client.post("/v1/jobs", json={**source, "external_id": f"case {mark}"}).json()

        def is_over(job_id: str = job["id"]) -> bool:
            return client.get(f"/v1/jobs/{job_id}").json()["state"] in ("succeeded", "failed")

        wait_until(is_over, (folder.logs / "worker.log").read_text)
        ended = client.get(f"/v1/jobs/{job['id']}").json()
        assert ended["state"] == "succeeded", ended
        jobs[job["id"]] = ended["video_id"]
    (video_id,) = set(jobs.values())
    return video_id, tuple(jobs), (form["fields"]["key"], theirs)


def test_after_an_erasure_nothing_of_the_fleet_holds_a_trace_of_the_video(
    fleet: RunFolder, caller: httpx2.Client, tmp_path: Path
) -> None:
    mark = f"mark{secrets.token_hex(8)}"
    clip = draw_face(tmp_path / "clip.mp4", seed=3)
    # A box at the end of the file that no reader of MP4 looks into: the bytes are known again anywhere.
    clip.write_bytes(clip.read_bytes() + struct.pack(">I4s", 8 + len(mark), b"free") + mark.encode())
    video_id, job_ids, (uploaded, theirs) = submit_marked(caller, fleet, clip, mark)
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    traces, keys = (mark, sha256), (uploaded, theirs)
    before = search_fleet(fleet, traces)
    assert {("objects", uploaded), ("objects", theirs), ("database", "public.video")} <= before
    assert "scratch" in {store for store, _ in before}  # the host keeps a copy in case another job needs it
    logged = {name for store, name in search_fleet(fleet, job_ids) if store == "logs"}
    assert "logs/worker.log" in logged

    receipt = caller.post(f"/v1/videos/{video_id}:erase", json={"with_sources": True}).json()

    def is_done() -> bool:
        return caller.get(f"/v1/erasures/{receipt['id']}").json()["state"] == "completed"

    wait_until(is_done, (fleet.logs / "reconciler.log").read_text)
    assert search_fleet(fleet, traces) == set()
    # The store's own log names objects that it was asked for when they were gone; see the page on erasure.
    assert search_fleet(fleet, keys) <= {("logs", "seaweedfs/seaweedfs.log")}
    # What is left has ids alone: the receipt, the audit log and what receivers are told, the bill, and logs.
    left = search_fleet(fleet, (video_id, *job_ids))
    assert {store for store, _ in left} == {"database", "logs"}
    assert {name for store, name in left if store == "database"} == {
        *("public.audit_log", "public.erasure", "public.event", "public.usage")
    }
