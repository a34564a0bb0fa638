"""What holds for every test: no network but localhost, fixed random states, the rule for GPU tests."""

import contextlib
import gc
import importlib
import os
import random
import shutil
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from fakesieve.embedded import ports
from tests.constants import find_constants
from tests.databases import (
    database,
    database_name,
    migrated_database,
    module_database,
    module_database_as_owner,
    module_database_name,
    module_database_of_fleet,
)
from tests.servers import postgres, s3, servers_folder, valkey

# Fixtures: pytest looks for them by name here.
__all__ = [
    "database",
    "database_name",
    "migrated_database",
    "module_database",
    "module_database_as_owner",
    "module_database_name",
    "module_database_of_fleet",
    "postgres",
    "s3",
    "servers_folder",
    "valkey",
]

TESTS = Path(__file__).parent
ALONE = "mark.alone"
SEED = 20_240_611
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", ""}

# The same examples on every machine, and no failure because a shared core was busy.
settings.register_profile(
    "fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fixed")
# Hypothesis also draws numbers and texts that stand in our modules, in those that happen to be loaded: the
# examples of a test would change with the tests that ran before it in its process. Here they are fixed.
pytest.MonkeyPatch().setattr("hypothesis.internal.conjecture.providers._get_local_constants", find_constants)


# Two threads of one network wait for each other at each layer. On cores that another process of the tests
# or of the host wants, such a wait lasts 30 times the work. Set before torch is loaded; processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Loading makes millions of objects that stay. To look through them again and again takes a quarter of it.
gc.disable()

# Processes that share the tests never choose the same port in the moment before a server listens there.
if "PYTEST_XDIST_WORKER" in os.environ:
    share = (ports.HIGHEST - ports.LOWEST) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    ports.LOWEST += share * int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    ports.HIGHEST = ports.LOWEST + share


class NetworkForbidden(RuntimeError):
    """A test tried to reach a host other than this one."""


def _refuse_far_hosts(address: object) -> None:
    """Raise for internet addresses other than localhost; unix sockets are paths and pass."""
    if isinstance(address, tuple) and str(address[0]) not in LOCAL_HOSTS:
        raise NetworkForbidden(f"a test opened a connection to {address[0]}; only localhost is allowed")


@pytest.fixture(autouse=True)
def _localhost_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name look-ups that leave the machine, in this process."""
    connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: object) -> None:
        _refuse_far_hosts(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: object) -> int:
        _refuse_far_hosts(address)
        return connect_ex(self, address)

    def guarded_resolve(host: object, *args: object, **options: object) -> object:
        _refuse_far_hosts(("" if host is None else host,))
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)


@contextmanager
def fixed_states() -> Iterator[None]:
    """Let libraries draw from the same random states in the block, and leave none of its own behind."""
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002 - libraries draw from it
    torch = sys.modules.get("torch")  # whoever has not loaded it draws nothing from it
    torch_before = None if torch is None else torch.get_rng_state()
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - libraries draw from it
    if torch is not None:
        torch.default_generator.manual_seed(SEED)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002 - libraries draw from it
        if torch is not None:
            torch.set_rng_state(torch_before)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> Iterator[None]:
    """Start every test from the same random states."""
    with fixed_states():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """Make what several tests share from the same random states too, whichever of them asks first."""
    if fixturedef.scope == "function":
        return (yield)
    with fixed_states():
        return (yield)


def is_alone(file: Path) -> bool:
    """Whether a file has tests that run alone, told without loading it."""
    return ALONE in file.read_text(encoding="utf-8")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Load nothing for the tests that run alone but their own files: all others take a quarter of a minute.

    Files that somebody named are loaded all the same.
    """
    if config.option.markexpr != "alone" or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return None
    files = [collection_path] if collection_path.is_file() else collection_path.rglob("test_*.py")
    return None if any(map(is_alone, files)) else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests that run alone without saying so in their file: they would run with neither half."""
    alone = {item.path for item in items if item.get_closest_marker("alone") is not None}
    unsaid = sorted(str(file) for file in alone if not is_alone(file))
    if unsaid:
        raise pytest.UsageError(f"write pytest.{ALONE} in the file itself: {', '.join(unsaid)}")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect garbage at once in the process that hands tests out, as it loads none."""
    if session.config.getoption("dist", "no") != "no":
        gc.enable()


def pytest_collection(session: pytest.Session) -> None:
    """Let each process that shares the tests begin to load them at another place.

    Where they are loaded for the first time pytest compiles them, which takes one process 20 s. Processes
    that begin at the same place would all do it for every module; so each finds what the others have kept.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    asked = [Path(each.partition("::")[0]).resolve() for each in session.config.args]
    files = [file for file in sorted(TESTS.rglob("test_*.py")) if any(map(file.is_relative_to, asked))]
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    first = len(files) * number // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for file in files[first:] + files[:first]:
        # What cannot be loaded, or is skipped, collection finds and says next.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """Collect garbage from here on, and never look at what loading has made."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip GPU tests where there is no GPU, unless this machine was declared to have one."""
    if item.get_closest_marker("needs_gpu") is None or shutil.which("nvidia-smi"):
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail("REQUIRE_GPU=1 is set and this machine has no CUDA device", pytrace=False)
    pytest.skip("needs a CUDA device")
