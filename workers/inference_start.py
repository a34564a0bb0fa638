"""How an inference process is started: what it is told, what it inherits, and which environment it has."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

from engine.bundle import ModelBundle
from fakesieve.embedded.run_folder import MARK
from fakesieve.settings import LogFormat, LogLevel
from workers.inference_wire import InferenceLaunch
from workers.slabs import SlabLayout

_SECRETS = ("FAKESIEVE_", "AWS_")  # environment that the process does not need


def start_process(launch: InferenceLaunch, descriptors: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """Start one with its channel, the slabs and its lifeline. Raises OSError where that cannot be done."""
    command = [sys.executable, "-P", "-m", "workers.inference_loop", *map(str, descriptors)]
    return subprocess.Popen(
        [*command, json.dumps(asdict(launch))],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        env=_choose_environment(),
        start_new_session=True,  # signals to the host's group are answered by the host
    )


def _choose_environment() -> dict[str, str]:
    """Return our variables without secrets, but with the mark by which a fleet's processes are known."""
    return {name: text for name, text in os.environ.items() if name == MARK or not name.startswith(_SECRETS)}


def make_launch(
    bundle: ModelBundle,
    *,
    engine: str,
    threads: int,
    slots: int,
    crops: int,
    max_wait_s: float | None,
    log_format: LogFormat = LogFormat.JSON,
    log_level: LogLevel = LogLevel.INFO,
) -> InferenceLaunch:
    """Say how the inference process of a host with ``slots`` slots is started."""
    layout = SlabLayout(slots, crops, bundle.input_size, bundle.grid)
    return InferenceLaunch(
        model=str(bundle.directory),
        engine=engine,
        threads=threads,
        layout=asdict(layout),
        max_wait_s=max_wait_s,
        manifest_sha256=bundle.manifest_sha256,
        log_format=log_format,
        log_level=log_level,
    )
