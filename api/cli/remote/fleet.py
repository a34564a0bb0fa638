"""The fleet of commands over its API."""

from collections.abc import Generator
from contextlib import contextmanager

from api.cli.connect import open_client
from api.cli.remote.intake import RemoteIntake
from api.cli.remote.jobs import RemoteJobs
from api.cli.remote.results import RemoteResults
from fakesieve.cli.fleet import Fleet


@contextmanager
def open_fleet() -> Generator[Fleet]:
    """Connect to the API that the environment names, for the time of a block. Raises as ``open_client``."""
    with open_client() as client:
        yield Fleet(RemoteJobs(client), RemoteIntake(client), RemoteResults(client))
