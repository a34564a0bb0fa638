"""What is seen and what is left of an inference process when it, or its host, comes to an end."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.backends.parity import probe_crops
from engine.bundle import load_bundle
from engine.errors import BackendFailed
from fakesieve.embedded.run_folder import MARK, is_alive
from fakesieve.jobs.states import Lane
from fakesieve.settings import LogFormat, LogLevel
from tests.waiting import PATIENCE_S, wait_until
from workers.inference import InferenceProcess, RestartRules
from workers.inference_start import make_launch
from workers.metrics import FleetMetrics

RULES = RestartRules(backoff_s=(), start_s=PATIENCE_S, least_deadline_s=PATIENCE_S)

# An engine in native code that keeps the interpreter to itself, as one does that is built for minutes.
STUCK = """\
import ctypes, os
from workers import inference_loop


def build_for_ever(*arguments, **options):
    with open({told!r}, "w") as file:
        file.write(str(os.getpid()) + chr(10))
    ctypes.PyDLL(None).pause()


inference_loop.choose_backend = build_for_ever
inference_loop.main()
"""

BROKEN = """\
from workers import inference_loop


def fail(*arguments, **options):
    raise RuntimeError("the driver is of another release")


inference_loop.choose_backend = fail
inference_loop.main()
"""

HOST = """\
import sys
from engine.bundle import load_bundle
from workers.inference import InferenceProcess
from workers.inference_start import make_launch

sys.executable = {python!r}
bundle = load_bundle()
launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=None)
InferenceProcess(bundle, launch).start()
"""


@pytest.fixture(scope="module")
def bundle():
    return load_bundle()


def write_python(tmp_path, program):
    """A stand-in for the interpreter that runs a program of the test instead of the inference loop."""
    script, python = tmp_path / "program.py", tmp_path / "python"
    script.write_text(program)
    python.write_text(f'#!/bin/sh\nshift 3\nexec "{sys.executable}" -P "{script}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return str(python)


def make_process(bundle, *, on_ended=None, **options):
    launch = make_launch(
        bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=None, **options
    )
    return InferenceProcess(bundle, launch, rules=RULES, on_ended=on_ended)


def test_a_process_that_dies_is_told_and_counted_once(bundle):
    metrics = FleetMetrics()
    process = make_process(bundle, on_ended=metrics.note_inference_end)
    with capture_logs() as logs:
        process.start()
        with process.lend(Lane.STANDARD, 1.0) as remote:
            remote.infer(probe_crops(bundle.input_size, 2))
            os.kill(process.pid, signal.SIGKILL)
            remote.infer(probe_crops(bundle.input_size, 2))
        process.close()  # which is no end to tell of
    (told,) = [line for line in logs if line["event"] == "inference.ended"]
    assert (told["log_level"], told["why"], told["answers"], told["blamed"]) == ("warning", "signal 9", 1, [])
    assert metrics.registry.get_sample_value("fakesieve_inference_ends_total") == 1.0


def test_its_last_words_are_an_event_of_the_log(bundle, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", write_python(tmp_path, BROKEN))
    process = make_process(bundle, log_format=LogFormat.JSON, log_level=LogLevel.WARNING)
    with pytest.raises(BackendFailed, match="exit status 1"):
        process.start()
    process.close()
    (told,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (told["event"], told["level"]) == ("inference.failed", "error")
    assert "RuntimeError: the driver is of another release" in told["exception"]


def test_none_outlives_a_host_that_is_killed_while_it_loads(tmp_path):
    told = tmp_path / "pid"
    python = write_python(tmp_path, STUCK.format(told=str(told)))
    host = subprocess.Popen([sys.executable, "-P", "-c", HOST.format(python=python)])
    try:
        wait_until(lambda: told.exists() and told.read_text().endswith("\n"), host.poll)
        pid = int(told.read_text())
        assert is_alive(pid)
    finally:
        host.kill()
        host.wait()
    wait_until(lambda: not is_alive(pid), lambda: f"process {pid} lives on")


def test_it_is_known_as_a_part_of_its_fleet_and_knows_no_secret(bundle, monkeypatch):
    monkeypatch.setenv(MARK, "/srv/fleet")
    monkeypatch.setenv("FAKESIEVE_S3_SECRET_KEY", "made up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made up")
    process = make_process(bundle)
    process.start()
    words = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    process.close()
    names = dict(word.split(b"=", 1) for word in words if word)
    assert names[MARK.encode()] == b"/srv/fleet"
    assert {name for name in names if name.startswith((b"FAKESIEVE_", b"AWS_"))} == {MARK.encode()}
