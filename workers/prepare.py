"""The first piece of work of a job: fetch its object, look at it, plan what to sample, fan out."""

import re
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from engine.probe import Probe, probe_video
from engine.sampling import cut_shards, plan_samples
from engine.watch import Stage
from fakesieve.errors import Unavailable
from fakesieve.jobs.fan_out import FanOut, Prepared, fan_out
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.states import JobState
from fakesieve.logging import get_logger
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from workers.leases import HeldClaim
from workers.plan_json import PlanInvalid, plan_to_json, probe_from_json, probe_to_json
from workers.retry import ClaimLost
from workers.screener import Screener
from workers.workplace import Workplace

_log = get_logger(__name__)

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}")


def prepare_job(place: Workplace, held: HeldClaim) -> Claim | None:
    """Write the shards of a job, or end it with the analysis that there is of the same bytes.

    Returns the claim on the job's first shard, which is begun here at once. Raises the fault for which the
    object cannot be screened.
    """
    claim, screener = held.claim, place.screener
    known = recall_probe(claim)
    probe, source = (known, None) if known else _probe_object(place, held)
    held.stage = "plan"
    prepared = plan_job(screener, probe, source)
    fanned = place.end_and_take(
        ShardKey(claim.key.job_id, 1),
        lambda taker: fan_out(place.store, claim, prepared, place.limits, taker),
    )
    if fanned.outcome is FanOut.STALE:
        raise ClaimLost("the job was taken over or has ended while it was prepared")
    _log.info("job.prepared", outcome=fanned.outcome, shards=len(prepared.plans))
    if fanned.outcome is FanOut.REUSED:
        place.metrics.reused.inc()
        place.tracer.end_job(
            claim.key.job_id,
            claim.deadline,
            {"fakesieve.state": JobState.SUCCEEDED.value, "fakesieve.reused": "true"},
        )
    return fanned.following


def recall_probe(claim: Claim) -> Probe | None:
    """Return what an earlier claim has seen in the object, of a job that waits for another one's analysis.

    Whoever screens fetches the object and compares its bytes with this.
    """
    if claim.media is None:
        return None
    try:
        return probe_from_json(claim.media)
    except PlanInvalid:  # of another release
        return None


def _probe_object(place: Workplace, held: HeldClaim) -> tuple[Probe, VideoRef]:
    """Fetch the object and look at it; return the object as it was read, too."""
    claim, screener, limits = held.claim, place.screener, place.screener.settings.limits
    begun_s = time.monotonic()
    held.enter("fetch")
    with place.scratch.hold(claim.source, limit_bytes=limits.size_bytes, check=held.check) as file:
        place.metrics.stage_seconds.labels("fetch").observe(time.monotonic() - begun_s)
        held.enter(Stage.PROBE.value)
        with (
            place.metrics.stage_seconds.labels(Stage.PROBE.value).time(),
            link_as(file.path, claim.source.key) as path,
        ):
            probe = probe_video(path, limits, screener.sandbox)
        if probe.sha256 != file.sha256:
            seen = f"{file.path.name} was changed in the scratch folder"
            raise Unavailable(Reason.NO_SPACE, seen, "keep other programs out of the scratch folder")
    return probe, file.ref


@contextmanager
def link_as(path: Path, key: str) -> Generator[Path]:
    """Give a downloaded file the extension of its key for a while: a probe compares it with the content."""
    extension = PurePosixPath(key).suffix
    if not _EXTENSION.fullmatch(extension):
        extension = ""
    link = path.with_name(f"{uuid.uuid4().hex}{extension}")
    link.symlink_to(path)
    try:
        yield link
    finally:
        link.unlink()


def plan_job(screener: Screener, probe: Probe, source: VideoRef | None) -> Prepared:
    """Say what the shards of a probed video are, with their samples as the measure of their work.

    ``source`` as of :class:`Prepared`.
    """
    sampling = screener.settings.sampling
    shards = cut_shards(plan_samples(probe, sampling), probe, sampling)
    return Prepared(
        sha256=probe.sha256,
        size_bytes=probe.size_bytes,
        media=probe_to_json(probe),
        fingerprint=screener.by.fingerprint,
        plans=tuple(plan_to_json(shard) for shard in shards),
        costs=tuple(float(len(shard.targets)) for shard in shards),
        policy=screener.by.policy,
        source=source,
    )
