"""A decode that is broken off midway says why: in warnings, document and page, and on stderr."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.decode import decode_samples
from engine.errors import MediaRejected
from engine.probe import probe_video
from engine.results import MediaWarning, RejectReason
from engine.sampling import Sampling, plan_samples
from engine.sandbox.channel import Kind, Message
from engine.sandbox.handle import CallDied, CallTimedOut, Sandbox, SandboxCall
from engine.screen import ScanSettings, scan_video
from tests.assets import pyfeat_clip
from tests.engine.fakes import fake_tools
from tests.media import draw_clip

KEPT = 12  # frames that come before decoding breaks off
BREAKS = {
    RejectReason.DECODE_TIMEOUT: CallTimedOut("no answer for 3 s"),
    RejectReason.DECODER_CRASHED: CallDied("it was ended by a signal", signal.SIGSEGV),
    RejectReason.LIMIT_MEMORY: MediaRejected(RejectReason.LIMIT_MEMORY, "too little memory", "allow more"),
    RejectReason.CORRUPT: MediaRejected(RejectReason.CORRUPT, "no packet decodes", "get it again"),
}


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let decoding break off after ``KEPT`` frames; probing goes on as ever."""
    receive, seen = SandboxCall.receive, list[Message]()

    def set_up(fault: Exception) -> None:
        def receive_some(call: SandboxCall) -> Message:
            if len(seen) == KEPT:
                raise fault
            message = receive(call)
            if message.kind is Kind.FRAME:
                seen.append(message)
            return message

        monkeypatch.setattr(SandboxCall, "receive", receive_some)

    return set_up


@pytest.mark.parametrize("reason", BREAKS)
def test_the_warning_says_damage_only_where_there_is_some(
    tmp_path: Path, sandbox: Sandbox, break_off, reason: RejectReason
) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=60)
    probe = probe_video(path, sandbox=sandbox)
    targets = plan_samples(probe, Sampling(min_samples=20)).targets
    break_off(BREAKS[reason])
    stream = decode_samples(path, probe, targets, sandbox=sandbox)
    assert sum(len(group) for group in stream) == KEPT
    is_damage = reason is RejectReason.CORRUPT
    expected = MediaWarning.CORRUPT_FRAMES if is_damage else MediaWarning.DECODE_BROKEN_OFF
    assert stream.report.warnings == (expected,)
    assert {missing.detail.split(":")[0] for missing in stream.report.missing} == {reason.value}


def test_a_part_that_was_never_decoded_is_told_as_one_that_was_broken_off(
    tmp_path: Path, sandbox: Sandbox, break_off
) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=100)
    break_off(BREAKS[RejectReason.DECODE_TIMEOUT])
    sampling = Sampling(min_samples=2 * KEPT, shard_us=2_000_000)  # the second part gives no frame at all
    result = scan_video(path, fake_tools(sandbox), ScanSettings(sampling=sampling))
    assert result.evidence is not None
    assert MediaWarning.DECODE_BROKEN_OFF in result.evidence.warnings
    assert MediaWarning.CORRUPT_FRAMES not in result.evidence.warnings


def test_a_scan_that_a_limit_cut_short_says_which_and_what_helps(
    run, random_model: Path, tmp_path: Path, break_off
) -> None:
    clip = tmp_path / "face.mp4"
    clip.write_bytes(pyfeat_clip("single_face.mp4").read_bytes())
    break_off(BREAKS[RejectReason.DECODE_TIMEOUT])
    done = run(
        "scan", clip, "--model", random_model, "--jsonl", "--report", "--out", tmp_path / "out", "--jobs", 1
    )
    document = json.loads(done.out)
    coverage, warnings = document["coverage"], document["media"]["warnings"]
    assert "decode_broken_off" in warnings
    assert "corrupt_frames" not in warnings
    (cause,) = coverage["missing"]
    assert (
        cause["count"]
        == coverage["frames_sampled"] - KEPT
        == coverage["frames_sampled"] - coverage["frames_decoded"]
    )
    assert (cause["reason"], cause["first_us"] < cause["last_us"]) == ("not_decoded", True)
    assert cause["detail"] == "DECODE_TIMEOUT: decoding took too long: no answer for 3 s"
    said, hint = done.err.splitlines()
    assert said == f"warning: part of {clip}: DECODE_TIMEOUT: decoding took too long: no answer for 3 s"
    assert hint.startswith("hint: raise the time limit (scan: --timeout)")
    assert "DECODE_TIMEOUT: decoding took too long" in (tmp_path / "out" / "face.report.html").read_text()
