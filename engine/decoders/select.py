"""Which decoder a name means."""

from engine.decoders.decord import DecordSource
from engine.decoders.job import FrameSource
from engine.decoders.pyav import PyavSource
from engine.errors import Unavailable
from engine.results import RejectReason

DECODERS = ("pyav", "decord")


def load_source(name: str) -> FrameSource:
    """The decoder of this name. Raises `Unavailable` when it is unknown or not installed."""
    if name == "pyav":
        return PyavSource()
    if name == "decord":
        return DecordSource()
    raise Unavailable(
        RejectReason.ENGINE_UNAVAILABLE, f"no decoder is called {name!r}", f"use one of {', '.join(DECODERS)}"
    )
