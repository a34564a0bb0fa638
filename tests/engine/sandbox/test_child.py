"""The frame around decoding inside a child: its descriptors are its own, whatever the zygote holds open."""

import subprocess
import sys
import textwrap

import pytest

from tests.waiting import PATIENCE_S

PROGRAM = """
import os, sys
from engine.sandbox.child import _take_descriptors
first = int(sys.argv[1])
for number in range(4):
    pipe = os.pipe()
    os.write(pipe[1], b"%d" % number)
    os.dup2(pipe[0], first + number)
told = os.dup(1)
os.dup2(told, 200)
os.closerange(201, 300)
keep = os.dup2
os.closerange = lambda low, high: None  # what is printed below still has to get out
_take_descriptors(*range(first, first + 4))
found = b" ".join(os.read(number, 8) for number in range(3, 7))
os.write(200, found)
"""


@pytest.mark.parametrize("first", [3, 7, 50, 98, 100, 150])
def test_a_child_gets_its_four_descriptors_wherever_they_were(first: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(first)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.stdout, done.stderr) == ("0 1 2 3", "")
