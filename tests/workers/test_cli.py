"""A service that is told to end while it is still starting ends well: it has begun nothing."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("service", ["worker", "relay", "reconciler"])
def test_service_that_is_told_to_end_while_it_starts_ends_with_zero(service: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        silent.settimeout(PATIENCE_S)
        port = silent.getsockname()[1]
        environment = {
            **os.environ,
            "FAKESIEVE_DATABASE_URL": f"postgresql://fleet:secret@127.0.0.1:{port}/fakesieve",
            "FAKESIEVE_BROKER_URL": "redis://127.0.0.1:1/0",
            "FAKESIEVE_BUCKET": "videos",
        }
        command = [sys.executable, "-m", "fakesieve", service]
        with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()  # it has its settings and asks for the revision
            process.send_signal(signal.SIGTERM)
            _, complaint = process.communicate(timeout=PATIENCE_S)
            connection.close()
    assert (process.returncode, complaint) == (0, b"")
