"""Bodies of requests are read in one pass, whatever stands in them."""

import time

import pytest

from api.bodies import read_json
from api.problems import Problem


def test_a_name_that_stands_twice_among_many_is_found_at_once() -> None:
    names = [b'"%x":1' % number for number in range(60_000)]
    begun_s = time.monotonic()
    with pytest.raises(Problem, match="'ffff' stands twice"):
        read_json(b"{" + b",".join([b'"ffff":0', *names, b'"ffff":1']) + b"}")
    assert time.monotonic() - begun_s < 10  # in quadratic time it took minutes
