"""What the worst files cost in memory, in the decoding children and in the process that asks.

Each figure is taken in a fresh process, whose children's peak is known once its sandbox has ended.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import shared_corpus
from tests.waiting import PATIENCE_S

MIB = 1 << 20

# Starts one sandbox, looks at the files one after the other, ends it, prints three sizes in KiB.
_PROGRAM = """
import json, resource, sys
from pathlib import Path
from engine.decode import decode_samples
from engine.errors import MediaRejected
from engine.probe import probe_video
from engine.sampling import plan_samples
from engine.sandbox.handle import Sandbox

def own_peak():  # of this program alone: getrusage counts what the process was before it started
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1])

before = own_peak()
with Sandbox.start() as sandbox:
    for path in map(Path, sys.argv[1:]):
        try:
            probe = probe_video(path, sandbox=sandbox)
            with decode_samples(path, probe, plan_samples(probe).targets, sandbox=sandbox) as stream:
                for frames in stream:
                    pass
        except MediaRejected:
            pass
print(json.dumps([before, own_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def peaks_bytes(*rows: str) -> tuple[int, int]:
    """Return by how much the asking process grew, and the peak of the largest child or its parent."""
    paths = [str(shared_corpus().file(row)) for row in rows]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *paths],
        cwd=root, capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    before, after, children = json.loads(done.stdout)
    return (after - before) * 1024, children * 1024


@pytest.fixture(scope="module")
def usual() -> int:
    """Peak of the children on a plain 320x240 clip."""
    return peaks_bytes("F67f")[1]


def test_giant_pictures_and_floods_of_streams_are_refused_in_little_memory(usual: int) -> None:
    grown, children = peaks_bytes("F21", "F22", "F37", "F38", "F39", "F39c", "F13", "F40a")
    assert children - usual < 200 * MIB
    assert grown < 200 * MIB


def test_floods_of_frames_are_counted_in_little_memory(usual: int) -> None:
    grown, children = peaks_bytes("F24c", "F24d", "F26")
    assert children - usual < 200 * MIB
    assert grown < 200 * MIB


def test_jump_to_a_giant_picture_in_the_middle_stays_small(usual: int) -> None:
    grown, children = peaks_bytes("F23", "F23b")
    assert children - usual < 300 * MIB  # 4096x4096 is within the limits and is decoded
    assert grown < 200 * MIB


def test_largest_picture_that_is_taken_stays_below_the_bound_for_any_file() -> None:
    grown, children = peaks_bytes("F21c")
    assert grown + children < 1500 * MIB
