"""Failures of worker hosts: what is killed, stopped or told to end while it holds work."""

import os
import signal
import threading
import time
from contextlib import suppress

import psutil

from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.reasons import Reason
from tests.chaos.checker import Expected
from tests.chaos.driver import Driver, find_decoders, find_inference
from tests.chaos.stack import DRAIN_S, HOSTS

KILL_POINTS = ("delivered", "claimed", "decoding", "finishing", "finished")
SCORE_POINTS = ("scoring", "scored")
FAN_OUT_POINTS = ("looked_up", "shards_written", "doorbells_written")
_STOP_S = 5.0  # from the answer to a cancellation to the end of the work
_GROWTH_BYTES_MAX = 50e6
_CATCHES = 20  # of which each third or so is in time
_LATE_S = 60.0  # for a writer that was woken to come to its write


def r01_decoder_killed(d: Driver, times: int) -> None:
    """The sandboxed child of a shard is killed in the middle of the video."""
    killed: list[int] = []
    crashed = "SELECT count(*) FROM attempt WHERE job_id = :job AND reason = 'DECODER_CRASHED'"

    def kill() -> bool:
        job_id, host = d.meet("decoding", "hold", "long")
        for pid in find_decoders(host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        d.stack.release("decoding", job_id)
        d.wait(lambda: d.ask(crashed, job=job_id)[0][0] or d.has_ended(job_id), "the crash")
        d.wait_ended(job_id)
        return d.ask(crashed, job=job_id)[0][0] > 0  # not where the database was away when it had to be told

    met = d.retry(kill, times)
    d.note("R01 decode child killed, shard given back", met == times)
    d.tell("R01", f"{len(killed)} decode children killed, {met} shards given back for it")


def r02_host_killed(d: Driver, times: int, points: tuple[str, ...] = KILL_POINTS) -> None:
    """A whole host is killed at each point of a shard's life."""
    jobs = []
    for _ in range(times):
        for point in points:
            job_id, _ = d.meet(point, "kill")
            d.note(f"R02 host killed at {point}", was_met=True)
            jobs.append(job_id)
    waited_s = d.wait_ended(*jobs)
    d.tell("R02", f"{len(jobs)} kills at {len(points)} points; all ended {waited_s:.0f} s after the last")


def r03_killed_within_pop(d: Driver, times: int) -> None:
    """A host dies with a message that it has popped and not yet noted as unacknowledged."""
    for _ in range(times):
        job_id, _ = d.meet("popped", "kill")
        d.note("R03 doorbell lost between BRPOP and the note of it", was_met=True)
        d.wait_ended(job_id)
    d.tell("R03", f"{times} hosts killed between the pop and the note of it")


def r04_frozen_writer(d: Driver, times: int) -> None:
    """A host is frozen before it writes, and wakes up when its lease is over and another has taken over.

    Where its connection broke meanwhile, as the database was restarted, its patience is over with the first
    failure: it drops the result and never asks. Where another failure woke it too early, it writes in time.
    """
    met = d.retry(lambda: _freeze_writer(d), times)
    d.note("R04 late writer met a newer fence", met == times)
    d.tell("R04", f"{met} late writers met a newer fence")


def _freeze_writer(d: Driver) -> bool:
    """Freeze a host before it writes until another has taken over; say whether its late write was refused."""
    job_id, pid = d.meet("finishing", "stop")
    frozen = d.read_shard(job_id)
    assert frozen is not None
    try:
        d.wait(lambda: _is_overtaken(d, job_id, frozen.fence), "another host")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)
    d.wait_ended(job_id)
    return d.comes(lambda: d.stack.has_seen(f"stale_fence@{job_id}"), _LATE_S)


def _is_overtaken(d: Driver, job_id: str, fence: int) -> bool:
    """Whether another one has claimed the shard, or the frozen one was woken and has written it."""
    shard = d.read_shard(job_id)
    return shard is not None and (shard.fence > fence or shard.state is ShardState.DONE)


def r05_rolling_restart(d: Driver, times: int) -> None:
    """Hosts are told to end one after the other while they work; no clean end costs an attempt.

    Where the object store fails at that moment, a download in the host's other slot may outlast its time: the
    host ends with 70 then, and leaves that shard to its lease.
    """
    codes: list[int | None] = []

    def drain() -> bool:
        job_id, pid = d.meet("decoding", "hold", "long")
        host = d.role_of(pid)
        d.stack.begin_drain(host)
        time.sleep(DRAIN_S + 1)  # by then the host has told its work to end at its next step
        d.stack.release("decoding", job_id)
        codes.append(d.stack.finish_drain(host))
        shard = d.read_shard(job_id)
        d.note("R05 work given back by a drain", shard is not None and shard.attempts < shard.deliveries)
        d.stack.let_up(host)
        d.wait_ended(job_id)
        return codes[-1] == 0

    met = d.retry(drain, times)
    d.note("R05 host drained with exit code 0", met == times)
    d.tell("R05", f"{len(codes)} drains, exit codes {codes}")


def r06_told_to_end_within_fetch(d: Driver, times: int) -> None:
    """A host is told to end 0 to 50 ms after a doorbell was rung."""
    for turn in range(times):
        job_id = d.submit("short")
        time.sleep(d.chance.uniform(0.05, 0.10))  # the relay's pause, and 0 to 50 ms
        host = HOSTS[turn % 2]
        d.stack.begin_drain(host)
        d.note("R06 host told to end while a job was under way", not d.read(job_id).state.is_terminal)
        d.stack.finish_drain(host)
        d.stack.let_up(host)
        d.wait_ended(job_id)


def r07_no_gpu_memory(d: Driver) -> None:
    """The network fails for batches above two with the words of an engine whose GPU is full."""
    d.stack.set_mode("gpu_memory", is_on=True)
    try:
        d.wait_ended(*[d.submit("long") for _ in range(3)])
    finally:
        d.stack.set_mode("gpu_memory", is_on=False)
    d.note("R07 batches halved until they fit", d.stack.has_seen("gpu_memory"))


def r08_inference_dies(d: Driver, times: int) -> None:
    """The inference process gets a segmentation fault, or hangs, with requests in it."""
    for turn in range(times):
        job_id, host = d.meet("decoding", "hold", "long")
        pid = find_inference(host)
        number = (signal.SIGSEGV, signal.SIGSTOP)[turn % 2]
        if pid is not None:
            os.kill(pid, number)
        d.stack.release("decoding", job_id)
        waited_s = d.wait_ended(job_id)
        d.note(f"R08 inference process hit by {number.name}", pid is not None)
        d.note("R08 a fresh inference process", find_inference(host) != pid)
        d.tell(f"R08 {number.name}", f"the shard ended {waited_s:.0f} s later")


def r09_poison(d: Driver) -> None:
    """Every decoder of one video dies of a segmentation fault after its first samples.

    After three attempts it is the video's fault: what was decoded is all there is, and the result says so.
    """
    job_id = d.submit("long")
    d.promise(job_id, Expected("long", is_whole=False))
    others = [d.submit("short") for _ in range(3)]
    stop = threading.Event()

    def shoot() -> None:
        while not stop.is_set() and not d.has_ended(job_id):
            d.stack.arm("decoding", "hold", job_id)
            d.wait(lambda: d.was_met("decoding", job_id) or d.has_ended(job_id), "a decoder")
            for pid in d.stack.find_met("decoding", job_id):
                for child in find_decoders(pid):
                    with suppress(ProcessLookupError):
                        os.kill(child, signal.SIGSEGV)
            d.stack.release("decoding", job_id)
            time.sleep(0.2)

    shooter = threading.Thread(target=shoot)
    shooter.start()
    try:
        d.wait_ended(job_id, *others)
    finally:
        stop.set()
        shooter.join()
        d.stack.release("decoding", job_id)
    crashed = "SELECT count(*) FROM attempt WHERE job_id = :job AND reason = 'DECODER_CRASHED'"
    coverage = d.load(job_id).score.coverage
    shard = d.read_shard(job_id)
    end_times = [d.ask("SELECT end_time FROM job WHERE id = :job", job=each)[0][0] for each in others]
    (poison_end,) = d.ask("SELECT end_time FROM job WHERE id = :job", job=job_id)[0]
    d.note("R09 other jobs ended before the poison video", max(end_times) < poison_end)
    d.note("R09 poison video given up after three attempts", shard is not None and shard.attempts == 3)
    d.note("R09 poison video kept what was decoded", 0 < coverage.frames_decoded < coverage.frames_sampled)
    d.tell(
        "R09",
        f"{d.ask(crashed, job=job_id)[0][0]} attempts given back, then {coverage.frames_decoded} of"
        f" {coverage.frames_sampled} samples; three other jobs ended beside it",
    )


def r10_endless_decode(d: Driver) -> None:
    """A decoder stands still for longer than a call into the sandbox may last."""
    job_id, host = d.meet("decoding", "hold", "long")
    for pid in find_decoders(host):
        os.kill(pid, signal.SIGSTOP)
    d.stack.release("decoding", job_id)
    waited_s = d.wait(lambda: d.has_ended(job_id), "the time-out of a decoder")
    hung = "SELECT count(*) FROM attempt WHERE job_id = :job AND reason = 'DECODE_TIMEOUT'"
    d.note("R10 decoder that stands still is ended", d.ask(hung, job=job_id)[0][0] == 1)
    d.tell("R10", f"ended after {waited_s:.0f} s")


def r10_no_memory(d: Driver) -> None:
    """A decoder gets no more memory than it has. Another one sees the video whole, and the host is unharmed.

    One that has all the memory that it needs by then goes on; then another one is caught.
    """
    grown: list[int] = []
    full = "SELECT count(*) FROM attempt WHERE job_id = :job AND reason = 'LIMIT_MEMORY'"

    def starve() -> bool:
        job_id, host = d.meet("decoding", "hold", "long")
        before = psutil.Process(host).memory_info().rss
        for pid in find_decoders(host):
            with suppress(psutil.NoSuchProcess):
                decoder = psutil.Process(pid)
                size_bytes = decoder.memory_info().vms
                decoder.rlimit(psutil.RLIMIT_AS, (size_bytes, size_bytes))
        d.stack.release("decoding", job_id)
        d.wait_ended(job_id)
        grown.append(psutil.Process(host).memory_info().rss - before)
        return d.ask(full, job=job_id)[0][0] == 1

    was_met = any(starve() for _ in range(_CATCHES))
    d.note("R10 decoder without memory, video seen whole by another", was_met)
    d.note("R10 host keeps its own memory", max(grown) < _GROWTH_BYTES_MAX)
    d.tell("R10 memory", f"{len(grown)} decoders caught; the host grew by {max(grown) / 1e6:.0f} MB")


def r31_partial_fan_out(d: Driver, points: tuple[str, ...]) -> None:
    """A host dies between the statements that write a job's shards."""
    for point in points:
        job_id, _ = d.meet(point, "kill", "sharded")
        d.note(f"R31 fan-out cut after {point}", was_met=True)
        d.wait_ended(job_id)


def r32_last_finisher_dies(d: Driver, times: int) -> None:
    """Both hosts die at the moment when the last shard of a job was counted and its scoring had not begun."""
    for _ in range(times):
        job_id, _ = d.meet("counted_last", "kill", "sharded")
        for host in HOSTS:
            d.stack.signal_role(host, signal.SIGKILL)
        waited_s = d.wait_ended(job_id)
        d.note("R32 all completers died before the scoring", was_met=True)
        d.tell("R32", f"{times} times; the job was scored {waited_s:.0f} s later")


def r38_cancelled_while_running(d: Driver, times: int) -> None:
    """A job is cancelled in the middle of its work, which must stop and leave nothing."""
    stops_s: list[float] = []

    def cancel() -> bool:
        job_id, _ = d.meet("decoding", "hold", "long")
        d.insist(lambda: cancel_job(d.store, job_id))  # False too where the first answer got lost
        begun = time.monotonic()
        was_cancelled = d.read(job_id).state is JobState.CANCELLED
        if was_cancelled:
            d.change_promise(job_id, JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
        # Another host may have it by now, where this one was held for longer than its lease.
        d.stack.release("decoding", job_id)
        # It ends in another way where the database is away just then, or its host is killed.
        if not d.comes(lambda: d.has_logged("shard.not_done", job=job_id, action="drop"), _LATE_S):
            return False
        stops_s.append(time.monotonic() - begun)
        # Later where the database was away in between; then it is tried once more.
        return was_cancelled and stops_s[-1] <= _STOP_S

    met = d.retry(cancel, times)
    d.note(f"R38 work on a cancelled job stopped within {_STOP_S:.0f} s", met == times)
    d.tell("R38", f"{met} jobs; work stopped after {max(stops_s, default=0.0):.1f} s at most")
