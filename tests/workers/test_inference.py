import os
import shutil
import signal
import stat
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from engine.backends.parity import probe_crops
from engine.backends.select import choose_backend
from engine.bundle import load_bundle
from engine.errors import BackendFailed, BundleInvalid, Unavailable
from fakesieve.jobs.states import Lane
from tests.tolerance import FLEET_SCORE
from tests.waiting import PATIENCE_S, wait_until
from workers.batching import GPU_WAIT_S
from workers.inference import InferenceProcess, RestartRules
from workers.inference_loop import choose_wait_s
from workers.inference_start import make_launch
from workers.retry import ClaimLost, EngineKilled

RULES = RestartRules(
    backoff_s=(0.05, 0.05), start_s=PATIENCE_S, least_deadline_s=PATIENCE_S, deadline_batches=3.0
)
HASTY = replace(RULES, least_deadline_s=2.0)  # takes a process for hung that only waits for a core


@pytest.fixture(scope="module")
def bundle():
    return load_bundle()


@pytest.fixture
def start(bundle):
    started = []

    def start(slots=2, max_wait_s=0.05, rules=RULES, **options):
        launch = make_launch(
            bundle, engine="onnxruntime", threads=1, slots=slots, crops=4, max_wait_s=max_wait_s
        )
        process = InferenceProcess(bundle, launch, rules=rules, **options)
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
    process = start(max_wait_s=60.0, on_answer=lambda lane, answer: answers.append(answer))
    both = threading.Barrier(2)

    def run(part):
        with process.lend(Lane.STANDARD, 1.0) as remote:
            both.wait(PATIENCE_S)
            remote.infer(part)

    threads = [threading.Thread(target=run, args=(part,)) for part in (crops[:2], crops[2:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [answer.batch for answer in answers] == [4, 4]
    assert sorted(answer.ran for answer in answers) == [(), (4,)]  # the batch of both is told once


def test_part_of_a_batch_waits_no_longer_than_it_may(start, bundle):
    answers = []
    process = start(on_answer=lambda lane, answer: answers.append(answer))
    with process.lend(Lane.STANDARD, 1.0) as remote, process.lend(Lane.STANDARD, 1.0):
        remote.infer(probe_crops(bundle.input_size, 1))
    assert 0.045 <= answers[0].waited_s < 30.0


def test_on_a_processor_nothing_waits_for_company(start, bundle):
    waits_s = []
    process = start(max_wait_s=None, on_answer=lambda lane, answer: waits_s.append(answer.waited_s))
    with process.lend(Lane.STANDARD, 1.0) as remote, process.lend(Lane.STANDARD, 1.0):
        for _ in range(20):
            remote.infer(probe_crops(bundle.input_size, 1))
    assert min(waits_s) < GPU_WAIT_S / 2  # the least: any of them may wait for a core
    assert [choose_wait_s(name) for name in ("onnxruntime", "openvino", "torch")] == [0.0] * 3
    assert choose_wait_s("onnxruntime-cuda") == choose_wait_s("onnxruntime-tensorrt") == GPU_WAIT_S


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
    process = start(rules=HASTY)
    with process.lend(Lane.STANDARD, 1.0) as remote:
        os.kill(process.pid, signal.SIGSTOP)
        remote.infer(probe_crops(bundle.input_size, 1))
    assert process.health.restarts >= 1


def test_shard_that_is_told_to_end_has_no_more_batches_scored(start, bundle):
    answers = []

    def check():
        if len(answers) == 2:
            raise ClaimLost

    process = start(on_answer=lambda lane, answer: answers.append(answer))
    with pytest.raises(ClaimLost), process.lend(Lane.STANDARD, 1.0, check=check) as remote:
        remote.infer(probe_crops(bundle.input_size, 40))  # four of them in a slab
    assert len(answers) == 2


def test_shard_that_is_told_to_end_waits_for_no_answer_and_its_slab_comes_back_with_it(start, bundle):
    process = start(slots=1)
    crops = probe_crops(bundle.input_size, 4)

    def check():
        if process.health.waiting:
            raise ClaimLost

    with process.lend(Lane.STANDARD, 1.0) as remote:
        expected, _ = remote.infer(crops)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ClaimLost), process.lend(Lane.STANDARD, 1.0, check=check) as remote:
            remote.infer(crops[::-1].copy())
        with pytest.raises(Unavailable, match="all 1 slabs"), process.lend(Lane.STANDARD, 0.01):
            pass
    finally:
        os.kill(process.pid, signal.SIGCONT)
    with process.lend(Lane.STANDARD, PATIENCE_S) as remote:
        logits, _ = remote.infer(crops)
    np.testing.assert_array_equal(logits, expected)
    assert process.health.restarts == 0


def test_shard_that_is_told_to_end_waits_for_no_fresh_process(start, bundle):
    process = start(rules=replace(RULES, backoff_s=(PATIENCE_S,)))
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.health.is_ready)

    def check():
        raise ClaimLost

    with pytest.raises(ClaimLost), process.lend(Lane.STANDARD, 1.0, check=check):
        pass


def test_request_whose_process_is_killed_each_time_fails_with_a_clear_error(start, bundle):
    process = start(max_wait_s=PATIENCE_S)  # so that it has no answer before the killer comes
    stop = threading.Event()

    def kill_all():
        while not stop.wait(0.005):
            if process.health.waiting and (pid := process.pid):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with (
            process.lend(Lane.STANDARD, 1.0) as remote,
            process.lend(Lane.STANDARD, 1.0),  # whose faces it would wait for
            pytest.raises(BackendFailed, match="signal 9"),
        ):
            remote.infer(probe_crops(bundle.input_size, 1))
    finally:
        stop.set()
        killer.join()


POISONED = """\
import os, signal
from workers import inference_loop

choose = inference_loop.choose_backend


def choose_poisoned(*arguments, **options):
    backend = choose(*arguments, **options)
    infer = backend.infer

    def infer_or_die(crops):
        if (crops[:, :, :4, :4] == 77).all(axis=(1, 2, 3)).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return infer(crops)

    backend.infer = infer_or_die
    return backend


inference_loop.choose_backend = choose_poisoned
inference_loop.main()
"""


@pytest.fixture
def poison(bundle, tmp_path, monkeypatch):
    """Crops of which the process dies, as of a fault in the engine or in its driver."""
    program, python = tmp_path / "poisoned.py", tmp_path / "python"
    program.write_text(POISONED)
    python.write_text(f'#!/bin/sh\nshift 3\nexec "{sys.executable}" -P "{program}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(python))
    crops = probe_crops(bundle.input_size, 2)
    crops[1, :, :4, :4] = 77
    return crops


def test_crops_that_kill_the_process_are_told_from_those_beside_them(start, bundle, poison):
    process = start(max_wait_s=2.0)  # nothing fills the batch of those that are left
    good = probe_crops(bundle.input_size, 2)
    both, answers, faults = threading.Barrier(2), [], []

    def run(subject, crops):
        with process.lend(Lane.STANDARD, 1.0, subject=subject) as remote:
            both.wait(PATIENCE_S)
            try:
                answers.append((subject, remote.infer(crops)))
            except EngineKilled as fault:
                faults.append((subject, fault))

    threads = [threading.Thread(target=run, args=each) for each in (("job_1/1", poison), ("job_2/1", good))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [subject for subject, _ in answers] == ["job_2/1"]
    ((subject, fault),) = faults
    assert subject == "job_1/1"
    assert "signal 9" in fault.seen
    # Once for the batch of both, once for the crops alone; the fault is told before the second of them.
    wait_until(lambda: process.health.restarts == 2)


def test_one_poisoned_video_does_not_end_the_host(start, bundle, poison):
    process = start()
    for _ in range(3):  # its attempts
        with process.lend(Lane.STANDARD, 1.0, subject="job_1/1") as remote, pytest.raises(EngineKilled):
            remote.infer(poison)
    assert process.health.fault is None
    with process.lend(Lane.STANDARD, 1.0, subject="job_2/1") as remote:
        assert remote.infer(probe_crops(bundle.input_size, 2))[0].shape == (2, 2)


def test_process_that_dies_of_everything_is_given_up_on(start, bundle, poison):
    process = start()
    for number in range(3):
        with (
            process.lend(Lane.STANDARD, 1.0, subject=f"job_{number}/1") as remote,
            pytest.raises(BackendFailed),
        ):
            remote.infer(poison)
    assert "3 times in a row" in (process.health.fault or "")


def test_wrong_model_hash_is_refused_at_the_start(bundle):
    files = {**bundle.files, "weights.safetensors": "0" * 64}
    launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=0.05)
    process = InferenceProcess(replace(bundle, files=files), launch)
    with pytest.raises(BundleInvalid, match="were replaced"):
        process.start()
    process.close()


def test_manifest_that_is_not_the_one_its_host_checked_is_refused(bundle):
    launch = make_launch(bundle, engine="onnxruntime", threads=1, slots=1, crops=4, max_wait_s=0.05)
    process = InferenceProcess(bundle, replace(launch, manifest_sha256="0" * 64))
    with pytest.raises(BundleInvalid, match="was replaced after the host had checked it"):
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
    starter.join(PATIENCE_S)
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
