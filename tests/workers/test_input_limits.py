"""What a video may cost on a worker is what its settings say."""

from dataclasses import fields, replace

import pytest

from engine.bundle import ModelBundle
from engine.limits import Limits
from engine.screen import fingerprint_tools
from fakesieve.errors import SetupRefused
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.settings import Settings
from tests.engine.fakes import fake_tools
from tests.workers.test_work import read, submit
from workers.input_limits import SETTINGS, describe_input_limits, read_input_limits
from workers.opening import choose_settings

TOLD = {
    "video_bytes_max": 1 << 20,
    "video_s_max": 90.5,
    "video_pixels_max": 1 << 21,
    "video_side_px_max": 20_000,
    "video_side_px_min": 16,
    "video_streams_max": 3,
    "video_frames_max": 10,
    "decode_wait_s": 30.0,
    "decode_memory_bytes_max": 1 << 29,
    "video_codecs": "HEVC, h264",
}
MEANT = Limits(1 << 20, 90_500_000, 1 << 21, 20_000, 16, 3, 10, 30.0, 1 << 29, "h264,hevc")


def make_settings(**changes: object) -> Settings:
    least = {"database_url": "postgresql://db/f", "broker_url": "redis://b/0", "bucket": "videos"}
    return Settings.model_validate(least | changes)


def test_every_limit_of_the_engine_has_a_setting_and_is_the_engine_s_without_one() -> None:
    assert list(SETTINGS) == [field.name for field in fields(Limits)]
    assert set(SETTINGS.values()) == set(TOLD) <= set(Settings.model_fields)
    assert read_input_limits(make_settings()) == Limits()
    assert read_input_limits(make_settings(**TOLD)) == MEANT
    for name, setting in SETTINGS.items():
        alone = read_input_limits(make_settings(**{setting: TOLD[setting]}))
        assert alone == replace(Limits(), **{name: getattr(MEANT, name)})


@pytest.mark.parametrize("policy", [None, "strict"])
def test_a_worker_screens_by_the_limits_of_its_settings(bundle: ModelBundle, policy: str | None) -> None:
    assert choose_settings(make_settings(**TOLD, policy=policy), bundle).limits == MEANT


@pytest.mark.parametrize(
    ("told", "seen"),
    [({"video_codecs": "h264,realvideo"}, "realvideo"), ({"video_side_px_max": 31}, "min_side_px is above")],
)
def test_limits_that_cannot_be_are_refused_before_work_begins(told: dict[str, object], seen: str) -> None:
    with pytest.raises(SetupRefused, match=seen) as caught:
        read_input_limits(make_settings(**told))
    assert caught.value.reason is Reason.INVALID_SETTINGS


def test_a_limit_that_can_move_a_number_moves_the_pipeline_of_a_worker(bundle: ModelBundle, screener) -> None:
    def fingerprint(**told: object) -> str:
        return fingerprint_tools(fake_tools(screener.sandbox), choose_settings(make_settings(**told), bundle))

    moving = {"video_pixels_max", "video_frames_max", "decode_memory_bytes_max"}
    assert {name for name in TOLD if fingerprint(**{name: TOLD[name]}) != fingerprint()} == moving


def test_a_job_whose_video_is_beyond_a_limit_that_was_set_fails_by_its_reason(
    fleet, face_clip, bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = choose_settings(make_settings(video_frames_max=10), bundle)  # the clip has 75
    monkeypatch.setattr(fleet.place.screener, "settings", told)
    job_id = submit(fleet, face_clip)
    fleet.answer_all()
    assert (read(fleet, job_id).state, read(fleet, job_id).reason) == (JobState.FAILED, Reason.LIMIT_FRAMES)


def test_only_limits_that_were_set_are_named() -> None:
    assert describe_input_limits(Limits()) == "those of docs/reference/limits.md"
    assert describe_input_limits(Limits(duration_us=90_500_000, pixels=1 << 21)) == (
        "those of docs/reference/limits.md but for FAKESIEVE_VIDEO_S_MAX 90.5 s, "
        "FAKESIEVE_VIDEO_PIXELS_MAX 2097152"
    )
