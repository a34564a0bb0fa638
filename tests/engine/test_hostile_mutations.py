"""Prefixes and mutations of good files: never a crash, never a hang, never an answer off the closed list."""

from collections import Counter
from pathlib import Path

import pytest

from engine.errors import MediaRejected
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox
from tests.engine.test_hostile_files import look
from tests.hostile_recipes.battery import LETHAL, Answer, run_battery
from tests.hostile_recipes.boxes import fast_start
from tests.hostile_recipes.drawing import Encoding, encode, pattern, plain_clip
from tests.hostile_recipes.mutations import Mutant, mutants, seeds

MUTANTS = 2000
EVERY = 7  # no divisor in common with the twelve kinds, so that each kind comes up

# What a damaged file can be; not among them: INTERNAL, DECODER_CRASHED, DECODE_TIMEOUT.
REASONS = {
    RejectReason.EMPTY, RejectReason.NOT_VIDEO, RejectReason.UNSUPPORTED_CONTAINER,
    RejectReason.UNSUPPORTED_CODEC, RejectReason.TRUNCATED, RejectReason.CORRUPT, RejectReason.NO_FRAMES,
    RejectReason.NO_VIDEO_STREAM, RejectReason.ENCRYPTED, RejectReason.TOO_SMALL, RejectReason.LIMIT_PIXELS,
    RejectReason.LIMIT_FRAMES, RejectReason.LIMIT_DURATION, RejectReason.LIMIT_STREAMS,
    RejectReason.LIMIT_MEMORY, RejectReason.RESOLUTION_CHANGE,
}  # fmt: skip
WORDS = {reason.value for reason in REASONS} | {"decoded"}


def unexpected(answers: list[Answer]) -> list[tuple[int, Answer]]:
    """Return the answers that are a crash, a hang, an uncaught error or a reason that damage cannot have."""
    return [(number, answer) for number, answer in enumerate(answers) if answer.word not in WORDS]


@pytest.fixture(scope="module")
def small_clip() -> bytes:
    """25 frames of 64x64 with a key each five, index in front: 4 KB, so that each byte is a prefix's end."""
    return fast_start(encode(pattern(64, 64, 25), Encoding(codec_options={"g": "5"})))


def test_every_prefix_of_a_small_clip_is_answered(small_clip: bytes) -> None:
    index_end = small_clip.index(b"mdat") + 4
    lengths = [*range(4096), *range(4096, len(small_clip), 1024), len(small_clip)]
    answers = run_battery(("prefix.mp4", small_clip[:length]) for length in lengths)
    assert len(answers) == len(lengths)
    assert unexpected(answers) == []
    assert answers[0].word == RejectReason.EMPTY
    assert answers[-1] == Answer("decoded", "25")
    assert {a.word for a in answers[8:index_end]} <= {"NOT_VIDEO", "CORRUPT", "TRUNCATED", "NO_FRAMES"}
    # The longer the prefix, the more frames come out of it.
    frames = [int(a.detail) for a in answers if a.word == "decoded"]
    assert frames == sorted(frames)


def test_prefixes_of_every_kind_of_file_are_answered() -> None:
    prefixes = [
        (name, content[:length]) for name, content in seeds().items() for length in range(0, len(content), 37)
    ]
    answers = run_battery(prefixes)
    assert len(answers) == len(prefixes)
    assert [(prefixes[n][0], len(prefixes[n][1]), answer) for n, answer in unexpected(answers)] == []


def answer_of(path: Path, sandbox: Sandbox) -> tuple[RejectReason | None, int]:
    """Return the product's answer: a reason and 0, or none and how many samples were decoded."""
    try:
        return None, look(path, sandbox).report.decoded
    except MediaRejected as refusal:
        return refusal.reason, 0


def test_prefixes_of_a_larger_clip_are_answered_by_the_product(tmp_path: Path) -> None:
    path = tmp_path / "prefix.mp4"
    content = plain_clip()
    lengths = (*range(1, 4096, 211), *range(4096, len(content), 4096), len(content))
    decoded: list[int] = []
    with Sandbox.start() as sandbox:
        for length in lengths:
            path.write_bytes(content[:length])
            reason, count = answer_of(path, sandbox)
            assert reason is None or reason in REASONS
            decoded.append(count)
    assert decoded == sorted(decoded)
    assert decoded[-1] == 32


@pytest.fixture(scope="module")
def answered() -> list[tuple[Mutant, Answer]]:
    """All mutants with the battery's answers."""
    spoiled = list(mutants(MUTANTS))
    answers = run_battery((mutant.name, mutant.content) for mutant in spoiled)
    return list(zip(spoiled, answers, strict=True))


def test_mutations_are_answered_from_the_closed_list(answered: list[tuple[Mutant, Answer]]) -> None:
    odd = unexpected([answer for _, answer in answered])
    assert [(answered[n][0].name, n, answer) for n, answer in odd] == []
    counts = Counter(answer.word for _, answer in answered)
    # The damage is neither so light that all of it is overlooked nor so heavy that nothing is reached.
    assert 0.2 < counts["decoded"] / MUTANTS < 0.8
    assert len(counts) >= 8


def test_mutations_are_answered_alike_by_the_product_and_each_time(
    answered: list[tuple[Mutant, Answer]], tmp_path: Path
) -> None:
    with Sandbox.start() as sandbox:
        sandbox.inspect()  # waits for its start
        zygote = sandbox._process
        for mutant, answer in answered[::EVERY]:
            path = tmp_path / mutant.name
            path.write_bytes(mutant.content)
            reason, count = answer_of(path, sandbox)
            assert answer_of(path, sandbox) == (reason, count), mutant.number
            if count:
                assert answer.word == "decoded", mutant.number
            else:
                assert reason in REASONS, mutant.number
                seen = mutant.number, reason, answer
                assert answer in (Answer(reason.value), Answer("decoded", "0")), seen
        assert sandbox._process is zygote


def test_battery_notices_a_child_that_dies_and_goes_on_behind_it() -> None:
    files = [("a.mp4", plain_clip()), (f"b{LETHAL}", b"x"), ("c.mp4", b""), ("d.mp4", plain_clip())]
    answers = run_battery(files, workers=1)
    assert [answer.word for answer in answers] == ["decoded", "died", "EMPTY", "decoded"]
    assert unexpected(answers) == [(1, answers[1])]
