"""The examples of docs/howto/use-the-api.md, run as they stand against a served API; a stand-in ends jobs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from api.client import Client
from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.embedded.ports import find_ports
from fakesieve.records.analyses import store_analysis
from tests.api.callers import make_caller, make_settings
from tests.api.served import serve_app
from tests.factories import make_record, make_video
from tests.waiting import PATIENCE_S, wait_until

FLAGS = Policy("flags", 1, low=0.1, high=0.4, min_peak_frames=1)
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "use-the-api.md"
FILTERS = PAGE.with_name("filter-results.md")
_END = text(
    "UPDATE job SET state = 'succeeded', start_time = now(), end_time = now(), analysis_id = :analysis,"
    " video_id = :video WHERE id = :job AND state = 'queued'"
)


def read_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


class StandIn:
    """Ends each job that waits with an analysis, as a worker host would."""

    def __init__(self, database: Database, tenant_id: str) -> None:
        self._database, self._tenant_id = database, tenant_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            with self._database.transaction(tenant_id=self._tenant_id) as session:
                waiting = session.scalars(text("SELECT id FROM job WHERE state = 'queued'")).all()
                for job_id in waiting:
                    video_id = make_video(session, self._tenant_id, job_id)
                    analysis_id, _ = store_analysis(
                        session, make_record(self._tenant_id, video_id, policy=FLAGS)
                    )
                    session.execute(_END, {"analysis": analysis_id, "video": video_id, "job": job_id})


@pytest.fixture(scope="module")
def environment(
    postgres, s3, module_database_name, module_database, store, tmp_path_factory
) -> Iterator[dict]:
    """What ``source D/env`` gives, with an API behind it and the page's objects in the bucket."""
    folder = tmp_path_factory.mktemp("howto")
    (folder / "clip.mp4").write_bytes(b"bytes of a clip")
    for name in ("one", "two"):
        store.upload(folder / "clip.mp4", "videos", f"clips/{name}.mp4")
    app = create_app(make_settings(postgres, s3, module_database_name))
    caller = make_caller(TestClient(app), module_database, places=("s3://videos/",))
    with serve_app(app) as url, StandIn(module_database, caller.tenant_id):
        yield {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FAKESIEVE_API_URL": url,
            "FAKESIEVE_API_KEY": caller.secret,
            "HERE": str(folder),
        }


def test_the_block_of_who_runs_a_fleet_runs(postgres, s3, module_database_name, store):
    """``serve`` at a free port and until it is told to stop; the key of the second command opens it."""
    serve, create = (shlex.split(line) for line in read_blocks("shell")[0].splitlines())
    port, metrics_port = find_ports(2)
    serve[serve.index("--port") + 1] = str(port)
    settings = make_settings(postgres, s3, module_database_name)
    plain = {
        f"FAKESIEVE_{name.upper()}": getattr(value, "get_secret_value", lambda value=value: value)()
        for name, value in settings
        if name in settings.model_fields_set
    }
    environment = os.environ | {name: str(value) for name, value in plain.items()}
    environment |= {"FAKESIEVE_METRICS_PORT": str(metrics_port)}
    owner = {"FAKESIEVE_DATABASE_URL": postgres.url(database=module_database_name)}
    run = [sys.executable, "-m"]
    made = subprocess.run(run + create, capture_output=True, text=True, check=True, env=environment | owner)
    secret = re.search(r"fsk_\w+", made.stdout)
    assert secret is not None, made.stdout
    with subprocess.Popen(run + serve, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: _is_ready(address), process.poll)
            with Client(address, secret[0], timeout_s=PATIENCE_S) as client:
                assert sorted(client.whoami().scopes) == ["jobs:read", "jobs:write", "results:read"]

            def scrape() -> str:
                return httpx2.get(f"http://127.0.0.1:{metrics_port}/metrics", timeout=PATIENCE_S).text

            # The same process says to Prometheus what it has answered, a moment after the answer was sent.
            answers = r'^fakesieve_api_answers_total\{method="GET",route="/v1/whoami",status="200"\} 1\.0$'
            wait_until(lambda: re.search(answers, scrape(), re.M), scrape)
        finally:
            process.terminate()
    assert process.returncode == 0  # it was asked to end and did


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health/ready").is_success
    except httpx2.TransportError:
        return False


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_block_with_curl_of_the_page_on_filters_runs(environment):
    (block,) = re.findall(r"^```shell\n(.*?)^```", FILTERS.read_text(encoding="utf-8"), re.M | re.S)
    define = read_blocks("shell")[1].splitlines()[0]
    script = f"set -euo pipefail\n{define}\n{block}"
    run = subprocess.run(["bash", "-c", script], check=True, env=environment, capture_output=True, text=True)
    assert json.loads(run.stdout)["next_page_token"] is None


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_blocks_for_the_shell_run_in_their_order(environment, store):
    """Behind the first one, which is for whoever runs a fleet."""
    listed = len(list(store.list_objects("videos", "clips/")))  # other tests may have put theirs there
    script = "set -euo pipefail\n" + "\n".join(read_blocks("shell")[1:])
    run = subprocess.run(
        ["bash", "-c", script],
        check=False,
        cwd=environment["HERE"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    assert "problem" not in run.stdout
    assert '"reason"' not in run.stdout.replace('"reason":null', "")
    assert "event: done" in run.stdout
    assert run.stdout.count('"object":"batch"') == 2
    assert listed >= 2
    assert f"would submit {listed}  s3://videos/clips/" in run.stdout
    assert "hours of review" in run.stdout


def test_the_python_block_runs(environment, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(environment["HERE"])
    (block,) = read_blocks("python")
    exec(compile(block, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "partially_scored 0.9" in printed
    assert "succeeded 100" in printed
    assert re.search(r"^ana_\w+$", printed, re.M)  # a line of its own, and not a word of the log
