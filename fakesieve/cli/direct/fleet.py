"""The fleet of commands over its database."""

from collections.abc import Generator
from contextlib import contextmanager

from fakesieve.cli.direct.intake import DirectIntake
from fakesieve.cli.direct.jobs import DirectJobs
from fakesieve.cli.direct.results import DirectResults
from fakesieve.cli.fleet import Fleet
from fakesieve.cli.place import open_place


@contextmanager
def open_fleet() -> Generator[Fleet]:
    """Open what the environment names, and close it after the block. Raises as ``open_place``."""
    with open_place() as place:
        yield Fleet(DirectJobs(place), DirectIntake(place), DirectResults(place))
