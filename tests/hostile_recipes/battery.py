"""Many small files through the sandbox's own code, dozens to a locked-down child instead of one.

A child of the product costs 8 ms before it reads a byte, so that ten thousand prefixes and mutations would
take minutes. Here a helper process forks children that lock themselves down just as the product's do and
then look at and decode one file after the other. A child that dies or hangs is noted at the file at which it
did, and the next child goes on behind it.
"""

import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.container import HEAD_BYTES, sniff_container
from engine.decoders.inspect import inspect_media
from engine.decoders.job import DecodedFrame, DecodeJob, ProbeJob
from engine.decoders.select import load_source
from engine.errors import EngineError
from engine.limits import Limits
from engine.results import RejectReason
from engine.sandbox.child import warm_up
from engine.sandbox.lockdown import lock_down

PER_CHILD = 64
HANG_S = 60.0  # a file takes milliseconds, but a machine with other work may stand still for seconds
LETHAL = ".lethal"  # a name with this suffix kills the child that looks at it: the control of the battery
MOST_TARGETS = 32
_FIRST_DESCRIPTOR = 100  # above what the lock-down leaves to open, so that low numbers stay free
_CPU_S = 600


@dataclass(frozen=True)
class Answer:
    """What became of one file: ``decoded`` when frames came, a reason, or ``died``, ``hung``, ``raised``."""

    word: str
    detail: str = ""


def run_battery(files: Iterable[tuple[str, bytes]], workers: int = 2) -> list[Answer]:
    """Look at files of (name, content), in the order given."""
    listed = list(files)
    shares = [listed[start::workers] for start in range(workers)]
    with tempfile.TemporaryDirectory() as folder:
        helpers = [_start_helper(Path(folder) / str(n), share) for n, share in enumerate(shares)]
        parts = [_answers_of(helper) for helper in helpers]
    merged: list[Answer | None] = [None] * len(listed)
    for start, part in enumerate(parts):
        merged[start::workers] = part
    return [answer for answer in merged if answer is not None]


def _start_helper(pack: Path, share: list[tuple[str, bytes]]) -> subprocess.Popen[str]:
    pack.write_bytes(b"".join(content for _, content in share))
    index = json.dumps([[Path(name).suffix, len(content)] for name, content in share])
    root = Path(__file__).resolve().parents[2]
    helper = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile_recipes.battery", str(pack)],
        cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert helper.stdin is not None
    helper.stdin.write(index)
    helper.stdin.close()
    return helper


def _answers_of(helper: subprocess.Popen[str]) -> list[Answer]:
    with helper:
        assert helper.stdout is not None
        answers = [Answer(*json.loads(line)) for line in helper.stdout]
    if helper.returncode != 0:
        raise RuntimeError(f"the battery's helper ended with {helper.returncode}")
    return answers


def main() -> None:
    """Be the helper: read the index from standard input, write one answer a line."""
    data = Path(sys.argv[1]).read_bytes()
    place, inputs = 0, []
    for suffix, length in json.load(sys.stdin):
        inputs.append((suffix, data[place : place + length]))
        place += length
    warm_up()
    done = 0
    while done < len(inputs):
        for answer in _run_child(inputs[done : done + PER_CHILD]):
            print(json.dumps([answer.word, answer.detail]))
            done += 1
    sys.stdout.flush()


def _run_child(inputs: list[tuple[str, bytes]]) -> list[Answer]:
    """Return the answers of one child, up to and with the file at which it died or hung."""
    descriptors = [_memory_file(content, n) for n, (_, content) in enumerate(inputs)]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_child(inputs, descriptors, writing)
    os.close(writing)
    for descriptor in descriptors:
        os.close(descriptor)
    answers, rest = [], b""
    hung = False
    while not hung:
        hung = not select.select([reading], [], [], HANG_S)[0]
        piece = b"" if hung else os.read(reading, 1 << 16)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        answers += [Answer(*json.loads(line)) for line in lines]
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if len(answers) < len(inputs):
        answers.append(Answer("hung" if hung else "died", str(status)))
    return answers


def _memory_file(content: bytes, number: int) -> int:
    descriptor = os.memfd_create("input")
    os.write(descriptor, content)
    os.dup2(descriptor, _FIRST_DESCRIPTOR + number)
    os.close(descriptor)
    return _FIRST_DESCRIPTOR + number


def _be_child(inputs: list[tuple[str, bytes]], descriptors: list[int], writing: int) -> None:
    try:
        limits = Limits()
        lock_down(limits.memory_bytes, _CPU_S)
        for (suffix, content), descriptor in zip(inputs, descriptors, strict=True):
            answer = _look(descriptor, suffix, content, limits)
            os.write(writing, json.dumps([answer.word, answer.detail]).encode() + b"\n")
            gc.collect()  # containers that hang in cycles hold descriptors, of which a child has 16
    finally:
        os._exit(0)


def _look(descriptor: int, suffix: str, content: bytes, limits: Limits) -> Answer:
    """Do what the parent and the children of the product do, one after the other."""
    if suffix == LETHAL:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        container = sniff_container(content[:HEAD_BYTES], len(content), suffix)
        seen = inspect_media(descriptor, ProbeJob(container, len(content), limits))
        targets = tuple((int(time_us), 0) for time_us in seen.frames_us[:MOST_TARGETS])
        job = DecodeJob(container, len(content), "pyav", seen.facts, targets, 0, 1, limits)
        decoded = sum(isinstance(a, DecodedFrame) for a in load_source("pyav").decode(descriptor, job))
    except EngineError as refusal:
        return Answer(refusal.reason.value)
    except MemoryError:
        return Answer(RejectReason.LIMIT_MEMORY.value)
    except Exception:  # noqa: BLE001 - process edge: what it is goes to the test
        return Answer("raised", traceback.format_exc(limit=-3))
    return Answer("decoded", str(decoded))


if __name__ == "__main__":
    main()
