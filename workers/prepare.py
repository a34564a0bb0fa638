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
from fakesieve.jobs.rows import ShardKey
from fakesieve.logging import get_logger
from fakesieve.reasons import Reason
from workers.leases import HeldClaim
from workers.plan_json import plan_to_json, probe_to_json
from workers.retry import ClaimLost
from workers.screener import Screener
from workers.workplace import Workplace

_log = get_logger(__name__)

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}")


def prepare_job(place: Workplace, held: HeldClaim) -> ShardKey | None:
    """Write the shards of a job, or end it with the analysis that there is of the same bytes.

    Returns the job's first shard, which may be begun here at once. Raises the fault for which the object
    cannot be screened.
    """
    claim, screener = held.claim, place.screener
    begun_s = time.monotonic()
    limits = screener.settings.limits
    held.enter("fetch")
    with place.scratch.hold(claim.source, limit_bytes=limits.size_bytes) as file:
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
    held.stage = "plan"
    prepared = plan_job(screener, probe)
    outcome = place.keep_trying(lambda: fan_out(place.store, claim, prepared, place.limits))
    if outcome is FanOut.STALE:
        raise ClaimLost("the job was taken over or has ended while it was prepared")
    _log.info("job.prepared", outcome=outcome, shards=len(prepared.plans), sha256=probe.sha256)
    if outcome is FanOut.REUSED:
        place.metrics.reused.inc()
        place.tracer.end_job(claim.key.job_id, {"fakesieve.reused": "true"})
        return None
    return ShardKey(claim.key.job_id, 1) if outcome is FanOut.FANNED else None


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


def plan_job(screener: Screener, probe: Probe) -> Prepared:
    """Say what the shards of a probed video are, with their samples as the measure of their work."""
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
    )
