"""The optional decoder on bad files: it decodes exactly, says that it cannot, or refuses; nothing else."""

from collections.abc import Iterator

import pytest

from engine.decode import decode_samples
from engine.errors import MediaRejected, Unavailable
from engine.probe import probe_video
from engine.results import RejectReason
from engine.sampling import plan_samples
from engine.sandbox.handle import Sandbox
from tests.engine.test_hostile_files import ACCEPTED
from tests.engine.test_hostile_mutations import REASONS
from tests.hostile import shared_corpus
from tests.hostile_recipes.mutations import mutants

pytest.importorskip("decord")

# Its memory and time grow with the length and size of a video: 932 MB for 300,000 frames.
TOO_LARGE = {"F21c", "F23", "F23b", "F24c", "F54"}
CANNOT = (RejectReason.ENGINE_UNAVAILABLE, 0)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started


def answer_of(path, sandbox: Sandbox) -> tuple[RejectReason | None, int]:
    """Return a reason and 0, or none and how many samples were decoded."""
    try:
        probe = probe_video(path, sandbox=sandbox)
        targets = plan_samples(probe).targets
        with decode_samples(path, probe, targets, sandbox=sandbox, decoder="decord") as stream:
            return None, sum(len(frames) for frames in stream)
    except (MediaRejected, Unavailable) as refusal:
        return refusal.reason, 0


@pytest.mark.parametrize("row", sorted(set(ACCEPTED) - TOO_LARGE))
def test_odd_file_is_decoded_whole_or_left_to_the_default_decoder(row: str, sandbox: Sandbox) -> None:
    assert answer_of(shared_corpus().file(row), sandbox) in ((None, ACCEPTED[row].requested), CANNOT)


def test_mutations_bring_no_child_down(sandbox: Sandbox, tmp_path) -> None:
    for mutant in list(mutants(240))[::5]:
        path = tmp_path / mutant.name
        path.write_bytes(mutant.content)
        reason, count = answer_of(path, sandbox)
        assert count or reason in {*REASONS, RejectReason.ENGINE_UNAVAILABLE}, (mutant.name, mutant.number)
