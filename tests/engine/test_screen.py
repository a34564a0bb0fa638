"""The whole way of a video, with a detector and a network whose answers are known."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from engine.errors import MediaRejected
from engine.limits import Limits
from engine.results import Outcome, RejectReason, VerdictValue
from engine.sampling import Sampling
from engine.sandbox.channel import Kind, Message
from engine.sandbox.handle import CallDied, CallTimedOut, Sandbox, SandboxCall
from engine.screen import ScanSettings, scan_video
from engine.watch import SilentWatcher, Stage
from tests.engine.fakes import FAKE_BUNDLE, OneFaceDetector, fake_tools
from tests.media import draw_clip

SIZE = {"width": 480, "height": 320}


def textured(shade: int):
    """A painter: noise around a shade, so that no face is too blurred."""

    def paint(index: int, rgb: np.ndarray) -> None:
        del index  # the same noise in every frame: quick to encode
        noise = np.random.default_rng(1).integers(-40, 41, (rgb.shape[0] - 40, rgb.shape[1], 1))
        rgb[40:] = np.clip(shade + noise, 0, 255)

    return paint


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4.4 seconds in which every face is bright, and so forged for the fake network."""
    path = tmp_path_factory.mktemp("screen") / "bright.mp4"
    return draw_clip(path, **SIZE, frames=110, paint=textured(190))


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.samples: list[tuple[int, int, int]] = []

    def on_stage(self, stage: Stage) -> None:
        self.stages.append(stage)

    def on_samples(self, done: int, total: int, faces: int) -> None:
        self.samples.append((done, total, faces))


def test_a_forged_face_is_found_scored_and_decided(bright: Path, sandbox: Sandbox) -> None:
    listener = Listener()
    result = scan_video(bright, fake_tools(sandbox), watcher=listener)
    assert result.outcome is Outcome.SCORED
    assert result.verdict.value is VerdictValue.LIKELY_MANIPULATED
    assert result.score.calibrated is None
    assert len(result.score.tracks) == 1
    assert result.score.coverage.frames_decoded == 32
    assert result.score.coverage.frames_in_video == 110
    assert result.source.sha256 == result.probe.sha256
    assert listener.stages == [Stage.PROBE, Stage.DECODE, Stage.SCORE]
    assert listener.samples[-1] == (32, 32, 32)


def test_samples_carry_the_exact_times_of_their_frames(bright: Path, sandbox: Sandbox) -> None:
    result = scan_video(bright, fake_tools(sandbox))
    assert np.isin(result.evidence.samples_us, result.probe.frames_us).all()


def test_groups_and_batches_stay_small(bright: Path, sandbox: Sandbox) -> None:
    tools = fake_tools(sandbox)
    settings = ScanSettings(sampling=Sampling(rate_hz=25, max_samples=102))
    scan_video(bright, tools, settings)
    assert max(tools.detector.groups) <= 8
    assert sum(tools.detector.groups) == sum(tools.backend.batches) == 102
    assert set(tools.backend.batches[:-1]) == {4}  # whole batches; only the rest is smaller
    assert tools.backend.batches[-1] == 2


def test_a_video_cut_into_shards_gives_the_same_faces(bright: Path, sandbox: Sandbox) -> None:
    whole = scan_video(bright, fake_tools(sandbox))
    parts = scan_video(
        bright, fake_tools(sandbox), ScanSettings(sampling=replace(Sampling(), shard_us=2_000_000))
    )
    assert parts.evidence.pts_us.tolist() == whole.evidence.pts_us.tolist()
    assert parts.evidence.logit.tolist() == whole.evidence.logit.tolist()
    assert set(parts.evidence.track.tolist()) == {0}  # joined across the borders
    assert parts.score.raw == whole.score.raw


def test_a_cut_at_the_border_of_two_shards_parts_the_tracks(tmp_path: Path, sandbox: Sandbox) -> None:
    """The second scene has the face in the same place, so that only the picture tells of the cut."""

    def paint(index: int, rgb: np.ndarray) -> None:
        textured(190)(index, rgb)
        if index >= 50:
            rgb[40:, ::2, 1:] //= 4
            rgb[40:180] //= 2

    clip = draw_clip(tmp_path / "cut.mp4", **SIZE, frames=100, keyframe_every=25, paint=paint)
    settings = ScanSettings(sampling=replace(Sampling(), shard_us=2_000_000))
    parts, whole = scan_video(clip, fake_tools(sandbox), settings), scan_video(clip, fake_tools(sandbox))
    assert len(whole.evidence.cuts_us) == 1
    assert parts.evidence.cuts_us == whole.evidence.cuts_us
    assert parts.evidence.track.tolist() == whole.evidence.track.tolist()
    assert set(parts.evidence.track.tolist()) == {0, 1}


def test_a_lost_shard_leaves_the_others_their_evidence(
    bright: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    """The last third of the pictures is noise: its shard gives nothing, the faces before it stay scored."""
    damaged = tmp_path / "damaged.mp4"
    clip = bytearray(bright.read_bytes())
    start, end = len(clip) * 6 // 10, clip.rindex(b"moov") - 4
    clip[start:end] = np.random.default_rng(1).bytes(end - start)
    damaged.write_bytes(clip)
    settings = ScanSettings(sampling=replace(Sampling(), shard_us=1_000_000))
    result = scan_video(damaged, fake_tools(sandbox), settings)
    assert result.fault is None
    assert result.outcome is Outcome.PARTIALLY_SCORED
    assert result.score.coverage.frames_sampled == 32
    assert 8 <= result.score.coverage.frames_decoded < 32
    assert len(result.evidence.missing) == 32 - result.score.coverage.frames_decoded


class UnfinishedCall:
    """A call whose child ends behind its last frame, or behind its first, and never says that it is done."""

    def __init__(self, call: SandboxCall, end: Exception, answers: int) -> None:
        self._call, self._end, self._answers = call, end, answers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._call.close()

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self._call.send(kind, payload)

    def receive(self) -> Message:
        message = self._call.receive()
        if message.kind is Kind.DONE or not self._answers:
            raise self._end
        self._answers -= 1
        return message


class UnfinishedSandbox:
    """A sandbox whose decoding children end like that; those that probe live on."""

    def __init__(self, sandbox: Sandbox, end: Exception, answers: int) -> None:
        self._sandbox, self._end, self._answers = sandbox, end, answers

    def __getattr__(self, name: str) -> object:
        return getattr(self._sandbox, name)

    def call_with_slabs(self, *arguments: object) -> tuple[UnfinishedCall, int]:
        call, slabs = self._sandbox.call_with_slabs(*arguments)
        return UnfinishedCall(call, self._end, self._answers), slabs


class BreakListener(SilentWatcher):
    """Keeps what broke decoding off."""

    def __init__(self) -> None:
        self.faults: list[MediaRejected] = []

    def on_broken(self, fault: MediaRejected) -> None:
        self.faults.append(fault)


ENDS = pytest.mark.parametrize("end", [CallDied("signal 9", 9), CallTimedOut("it did not answer")], ids=str)


@ENDS
def test_a_child_that_ends_behind_its_last_frame_has_lost_nothing(
    bright: Path, sandbox: Sandbox, end: Exception
) -> None:
    listener = BreakListener()
    unfinished = UnfinishedSandbox(sandbox, end, answers=1000)
    result = scan_video(bright, fake_tools(unfinished), watcher=listener)
    assert (result.outcome, result.score.reasons) == (Outcome.SCORED, ())
    assert (result.score.coverage.frames_decoded, result.evidence.missing) == (32, ())
    assert (result.evidence.warnings, listener.faults) == ((), [])


@ENDS
def test_a_child_that_ends_before_has_lost_the_rest(bright: Path, sandbox: Sandbox, end: Exception) -> None:
    listener = BreakListener()
    result = scan_video(bright, fake_tools(UnfinishedSandbox(sandbox, end, answers=20)), watcher=listener)
    assert (result.score.coverage.frames_decoded, len(result.evidence.missing)) == (20, 12)
    assert len(result.evidence.warnings) == len(listener.faults) == 1


def test_progress_counts_over_all_shards(bright: Path, sandbox: Sandbox) -> None:
    listener = Listener()
    settings = ScanSettings(sampling=replace(Sampling(), shard_us=2_000_000))
    scan_video(bright, fake_tools(sandbox), settings, listener)
    done = [samples for samples, _, _ in listener.samples]
    assert done == sorted(done)
    assert listener.samples[-1] == (32, 32, 32)


def test_without_a_face_there_is_no_score(tmp_path: Path, sandbox: Sandbox) -> None:
    clip = draw_clip(tmp_path / "black.mp4", **SIZE, paint=lambda _, rgb: rgb[40:].fill(0))
    result = scan_video(clip, fake_tools(sandbox))
    assert result.outcome is Outcome.NO_FACE
    assert result.score.raw is None
    assert result.verdict.value is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, RejectReason.SOURCE_NOT_FOUND), (b"", RejectReason.EMPTY), (b"text", RejectReason.NOT_VIDEO)],
)
def test_a_bad_input_gives_a_result_with_its_fault(
    tmp_path: Path, sandbox: Sandbox, content: bytes | None, reason: RejectReason
) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    result = scan_video(path, fake_tools(sandbox))
    assert result.outcome is Outcome.UNSCORABLE
    assert result.fault.reason is reason
    assert result.fault.hint
    assert result.source.size_bytes == (None if content is None else len(content))


def test_a_refused_video_keeps_what_probing_knows(bright: Path, sandbox: Sandbox) -> None:
    settings = ScanSettings(limits=Limits(duration_us=1_000_000))
    result = scan_video(bright, fake_tools(sandbox), settings)
    assert result.fault.reason is RejectReason.LIMIT_DURATION
    assert len(result.source.sha256) == 64


def test_what_a_watcher_raises_ends_the_scan(bright: Path, sandbox: Sandbox) -> None:
    class Stop(Exception):
        pass

    class Stopper(Listener):
        def on_samples(self, done: int, total: int, faces: int) -> None:
            raise Stop

    with pytest.raises(Stop):
        scan_video(bright, fake_tools(sandbox), watcher=Stopper())
    assert scan_video(bright, fake_tools(sandbox)).outcome is Outcome.SCORED  # the sandbox still serves


def test_equal_pipelines_have_equal_fingerprints_and_other_sampling_another(sandbox: Sandbox) -> None:
    tools, missing = fake_tools(sandbox), Path("missing.mp4")
    first, again = (scan_video(missing, tools).fingerprint for _ in range(2))
    other = scan_video(missing, tools, ScanSettings(sampling=Sampling(rate_hz=2))).fingerprint
    assert first == again != other
    assert scan_video(missing, tools).model.name == FAKE_BUNDLE.name


def test_timings_name_every_stage(bright: Path, sandbox: Sandbox) -> None:
    timings = scan_video(bright, fake_tools(sandbox)).timings_ms
    assert list(timings) == [*Stage, "total"]
    assert sum(timings[stage] for stage in Stage) <= timings["total"] + len(Stage)


def test_the_detector_of_the_tests_is_one() -> None:
    assert len(OneFaceDetector().detect(np.full((1, 80, 80, 3), 99, np.uint8))[0].boxes) == 1


class Meddler(SilentWatcher):
    """Does something to the input once a stage begins."""

    def __init__(self, stage: Stage, meddle: Callable[[], object]) -> None:
        self._stage, self._meddle = stage, meddle

    def on_stage(self, stage: Stage) -> None:
        if stage is self._stage:
            self._meddle()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two videos of one length in bytes."""
    folder = tmp_path_factory.mktemp("twins")
    drawn = [
        draw_clip(folder / f"{shade}.mp4", **SIZE, frames=110, paint=textured(shade)).read_bytes()
        for shade in (190, 60)
    ]
    longest = max(len(clip) + 8 for clip in drawn)
    first, second = (clip + struct.pack(">I4s", longest - len(clip), b"free") for clip in drawn)
    return first.ljust(longest, b"\0"), second.ljust(longest, b"\0")


@pytest.mark.parametrize("stage", [Stage.PROBE, Stage.DECODE])
@pytest.mark.parametrize("at_once", [True, False], ids=["moved into place", "written over"])
def test_the_digest_is_that_of_the_bytes_that_were_scored(
    tmp_path: Path, sandbox: Sandbox, twins: tuple[bytes, bytes], stage: Stage, *, at_once: bool
) -> None:
    path, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    path.write_bytes(twins[0])
    other.write_bytes(twins[1])

    def replace_input() -> None:
        other.replace(path) if at_once else path.write_bytes(twins[1])

    result = scan_video(path, fake_tools(sandbox), watcher=Meddler(stage, replace_input))
    if stage is Stage.PROBE:  # before the first look: the other video is the input
        assert result.source.sha256 == hashlib.sha256(twins[1]).hexdigest()
        assert result.outcome is Outcome.SCORED
    else:
        assert result.fault is not None
        assert result.fault.reason is RejectReason.SOURCE_CHANGED
        assert result.source.sha256 == hashlib.sha256(twins[0]).hexdigest()
        assert result.score is None


def test_an_input_that_changes_while_it_is_decoded_has_no_score(
    tmp_path: Path, sandbox: Sandbox, twins: tuple[bytes, bytes]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(twins[0])
    tools = fake_tools(sandbox)

    class Writer(OneFaceDetector):
        def detect(self, rgb: np.ndarray) -> list:
            path.write_bytes(twins[1])
            return super().detect(rgb)

    settings = ScanSettings(sampling=Sampling(shard_us=1_500_000))
    result = scan_video(path, replace(tools, detector=Writer()), settings)
    assert result.fault is not None
    assert result.fault.reason is RejectReason.SOURCE_CHANGED


def test_an_input_that_is_taken_away_between_two_parts_has_no_score(
    tmp_path: Path, sandbox: Sandbox, bright: Path
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bright.read_bytes())

    class Remover(OneFaceDetector):
        def detect(self, rgb: np.ndarray) -> list:
            path.unlink(missing_ok=True)
            return super().detect(rgb)

    settings = ScanSettings(sampling=Sampling(shard_us=1_500_000))
    result = scan_video(path, replace(fake_tools(sandbox), detector=Remover()), settings)
    assert result.fault is not None
    assert result.fault.reason is RejectReason.SOURCE_NOT_FOUND
