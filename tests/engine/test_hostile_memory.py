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
WORST = ("F21c", "F23b", "F31", "F54", "F56", "F59")

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


# Scans the files whole, with the shipped model, and prints two sizes in KiB and the outcomes.
_SCAN = """
import json, resource, sys
from pathlib import Path
from engine.backends.select import default_threads
from engine.bundle import load_bundle
from engine.sandbox.handle import Sandbox
from engine.screen import open_tools, scan_video

with Sandbox.start() as sandbox:
    tools = open_tools(load_bundle(), sandbox, engine="onnxruntime", threads=default_threads())
    outcomes = [scan_video(Path(path), tools).outcome for path in sys.argv[1:]]
words = Path("/proc/self/status").read_text().split()
own = int(words[words.index("VmHWM:") + 1])
print(json.dumps([own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, outcomes]))
"""


def answer_of(program: str, rows: tuple[str, ...]) -> list:
    """Return what a program prints of files, run in a fresh process."""
    paths = [str(shared_corpus().file(row)) for row in rows]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths],
        cwd=root, capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def peaks_bytes(*rows: str) -> tuple[int, int]:
    """Return by how much the asking process grew, and the peak of the largest child or its parent."""
    before, after, children = answer_of(_PROGRAM, rows)
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


def test_whole_scan_of_the_worst_files_stays_below_the_bound_for_any_file() -> None:
    """8K, a picture that grows, HDR, noise without loss, a crowd, people: interpreter and network included.

    The two peaks together are more than was ever held at once: frames that both map count twice.
    """
    own, children, outcomes = answer_of(_SCAN, WORST)
    assert dict(zip(WORST, outcomes, strict=True))["F59"] == "scored"  # so the network has run
    assert (own + children) * 1024 < 1500 * MIB
