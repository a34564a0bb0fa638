import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from engine.backends.parity import probe_crops
from engine.backends.select import choose_backend
from engine.bundle import load_bundle
from engine.errors import BackendFailed, BundleInvalid
from fakesieve.jobs.states import Lane
from tests.tolerance import FLEET_SCORE
from workers.inference import InferenceProcess, RestartRules, make_launch

RULES = RestartRules(backoff_s=(0.05, 0.05), least_deadline_s=2.0, deadline_batches=3.0)


@pytest.fixture(scope="module")
def bundle():
    return load_bundle()


@pytest.fixture
def start(bundle):
    started = []

    def start(slots=2, max_wait_s=0.05, **options):
        launch = make_launch(
            bundle, engine="onnxruntime", threads=1, slots=slots, crops=4, max_wait_s=max_wait_s
        )
        process = InferenceProcess(bundle, launch, rules=RULES, **options)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.close()


def test_answers_equal_those_of_the_engine_itself(start, bundle):
    crops = probe_crops(bundle.input_size, 7)
    own = choose_backend(bundle, "onnxruntime", 1)
    with start().lend(Lane.STANDARD, 1.0) as remote:
        assert (remote.name, remote.precision, remote.grid) == (own.name, own.precision, own.grid)
        assert remote.ladder == own.ladder
        logits, patches = remote.infer(crops)
        assert remote.faces == 7
        assert remote.compute_s > 0
    expected = [own.infer(crops[place : place + 4]) for place in (0, 4)]
    np.testing.assert_allclose(logits, np.concatenate([e[0] for e in expected]), atol=FLEET_SCORE)
    assert patches is not None
    np.testing.assert_allclose(patches, np.concatenate([e[1] for e in expected]), atol=10 * FLEET_SCORE)


def test_faces_of_two_videos_go_through_the_network_together(start, bundle):
    answers, crops = [], probe_crops(bundle.input_size, 4)
    process = start(max_wait_s=5.0, on_answer=lambda lane, answer: answers.append(answer))
    both = threading.Barrier(2)

    def run(part):
        with process.lend(Lane.STANDARD, 1.0) as remote:
            both.wait(10.0)
            remote.infer(part)

    threads = [threading.Thread(target=run, args=(part,)) for part in (crops[:2], crops[2:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert [answer.batch for answer in answers] == [4, 4]


def test_part_of_a_batch_waits_no_longer_than_it_may(start, bundle):
    answers = []
    process = start(on_answer=lambda lane, answer: answers.append(answer))
    with process.lend(Lane.STANDARD, 1.0) as remote, process.lend(Lane.STANDARD, 1.0):
        remote.infer(probe_crops(bundle.input_size, 1))
    assert 0.045 <= answers[0].waited_s < 1.0


def test_killed_process_is_started_again_and_the_request_is_answered(start, bundle):
    process = start()
    crops = probe_crops(bundle.input_size, 4)
    with process.lend(Lane.STANDARD, 1.0) as remote:
        expected, _ = remote.infer(crops)
        os.kill(process.pid, signal.SIGSTOP)  # so that the request is in it when it dies
        killer = threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL))
        killer.start()
        logits, _ = remote.infer(crops)
        killer.join()
    np.testing.assert_array_equal(logits, expected)
    assert process.health.restarts == 1


def test_hung_process_is_found_and_replaced(start, bundle):
    process = start()
    with process.lend(Lane.STANDARD, 1.0) as remote:
        os.kill(process.pid, signal.SIGSTOP)
        begun = time.monotonic()
        remote.infer(probe_crops(bundle.input_size, 1))
    assert time.monotonic() - begun < 60.0
    assert process.health.restarts == 1


def test_request_that_ends_the_process_twice_fails_with_a_clear_error(start, bundle):
    process = start()
    stop = threading.Event()

    def kill_all():
        while not stop.wait(0.05):
            if process.health.waiting and (pid := process.pid):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with process.lend(Lane.STANDARD, 1.0) as remote, pytest.raises(BackendFailed, match="signal 9"):
            predict_loop(remote, bundle)
    finally:
        stop.set()
        killer.join()


def predict_loop(remote, bundle):
    for _ in range(50):  # the killer may come after the answer
        remote.infer(probe_crops(bundle.input_size, 4))


def test_wrong_model_hash_is_refused_at_the_start(bundle):
    files = {**bundle.files, "weights.safetensors": "0" * 64}
    launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=0.05)
    process = InferenceProcess(replace(bundle, files=files), launch)
    with pytest.raises(BundleInvalid, match="were replaced"):
        process.start()
    process.close()


def test_model_that_cannot_be_loaded_is_refused_with_the_engines_reason(bundle, tmp_path):
    launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=0.05)
    process = InferenceProcess(bundle, replace(launch, model=str(tmp_path)))
    with pytest.raises(BundleInvalid, match="no model"):
        process.start()
    process.close()


def test_process_that_cannot_be_started_is_given_up_on(bundle, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=0.05)
    process = InferenceProcess(bundle, launch, rules=RULES)
    found = []

    def begin():
        try:
            process.start()
        except BackendFailed as fault:
            found.append(fault)

    starter = threading.Thread(target=begin, daemon=True)
    starter.start()
    starter.join(20.0)
    assert not starter.is_alive()
    assert "No such file" in found[0].seen
    process.close()


def test_process_that_ends_while_it_starts_is_told_with_its_status(bundle, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=0.05)
    process = InferenceProcess(bundle, launch, rules=RULES)
    with pytest.raises(BackendFailed, match="3 times in a row: exit status 1"):
        process.start()
    process.close()


def test_closing_leaves_no_process_and_fails_what_comes_after(start):
    process = start()
    pid = process.pid
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(BackendFailed, match="shutting down"), process.lend(Lane.BULK, 1.0):
        pass
