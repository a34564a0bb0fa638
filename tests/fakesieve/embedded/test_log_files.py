"""Logs move on while their programs write."""

import subprocess
import sys
from pathlib import Path

from fakesieve.embedded.log_files import rotate_log


def test_a_small_log_stays(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    assert not rotate_log(log, 10)
    log.write_text("0123456789")
    assert not rotate_log(log, 10)
    assert list(tmp_path.iterdir()) == [log]


def test_a_large_log_moves_on_and_the_oldest_part_goes(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    for turn in "abcd":
        log.write_text(turn * 20)
        assert rotate_log(log, 10, kept=2)
    assert log.read_text() == ""
    parts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert parts == {"relay.log": "", "relay.log.1": "d" * 20, "relay.log.2": "c" * 20}


def test_a_program_goes_on_writing_at_the_new_beginning(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    code = (
        "import sys\nfor line in sys.stdin:\n    print('x' * 20, flush=True)\n    print('.', file=sys.stderr)"
    )
    with (
        log.open("ab") as out,
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE, text=True
        ) as program,
    ):
        assert program.stdin is not None
        assert program.stderr is not None
        for _ in range(2):
            program.stdin.write("go\n")
            program.stdin.flush()
            program.stderr.readline()
            assert rotate_log(log, 10)
        program.stdin.close()
    assert log.stat().st_size == 0
    assert (tmp_path / "worker.log.1").read_bytes() == b"x" * 20 + b"\n"  # without a hole before it
