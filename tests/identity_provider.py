"""An identity provider as a process of its own, and a person who signs in there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2

from engine.sandbox.lockdown import die_with_parent
from fakesieve.embedded.ports import find_ports
from tests.waiting import PATIENCE_S, wait_until


@dataclass
class Provider:
    """A provider that runs. ``restart`` gives it another key."""

    port: int
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def issuer(self) -> str:
        """How it names itself."""
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        """Start it and return when it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(self.port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - it takes no lock
            )
        wait_until(self.answers, self.log.read_text)

    def answers(self) -> bool:
        """Whether it can be asked."""
        try:
            return httpx2.get(f"{self.issuer}/jwks", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Start it anew: it makes another key, and knows nobody any more."""
        self.stop()
        self.start()

    def put(self, subject: str, **claims: object) -> None:
        """Say who somebody is."""
        body = json.dumps(claims)
        answer = httpx2.put(
            f"{self.issuer}/users/{subject}",
            content=body,
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 204, answer.text

    def approve(self, url: str, subject: str) -> str:
        """Sign in at the address that a client has sent a browser to; return where the browser goes next."""
        return self.send(url, {"sub": subject})

    def deny(self, url: str) -> str:
        """Do not sign in there; return where the browser goes next."""
        return self.send(url, {"action": "deny"})

    def send(self, url: str, form: Mapping[str, str]) -> str:
        answer = httpx2.post(url, data=dict(form), follow_redirects=False, timeout=PATIENCE_S)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["location"])


@contextmanager
def providing(folder: Path) -> Iterator[Provider]:
    """A provider for the block."""
    (port,) = find_ports(1)
    provider = Provider(port, folder / "provider.log")
    provider.start()
    try:
        yield provider
    finally:
        provider.stop()
