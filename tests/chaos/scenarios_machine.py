"""Failures of the machine under a host: its clock, its disk, its memory and its model."""

import shutil
import time
from pathlib import Path

from engine.bundle import load_bundle
from tests.chaos.driver import Driver
from tests.chaos.stack import HOSTS

_GROWTH_MB_MAX = 100.0  # for each 100 clips: what two looks differ by without any growth is half of it


def r29_clock_skew(d: Driver) -> None:
    """Each host lives ten minutes in the past or in the future for a while."""
    for host, skew_s in zip(HOSTS, (600, -600), strict=True):
        d.stack.hold_down(host)
        d.stack.start_role(host, CHAOS_CLOCK_SKEW_S=str(skew_s))
    d.wait_ended(*[d.submit(clip) for clip in ("short", "short", "sharded", "short")])
    skews = {_read_skew(d.stack.find_pid(host)) for host in HOSTS}
    for host in HOSTS:
        d.stack.hold_down(host)
        d.stack.start_role(host)
    d.note("R29 clocks of two hosts twenty minutes apart", skews == {"600", "-600"})


def _read_skew(pid: int) -> str | None:
    """The skew of the clock with which a process was started."""
    given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(
        (each.partition(b"=")[2].decode() for each in given if each.startswith(b"CHAOS_CLOCK_")), None
    )


def r30_disk_full(d: Driver) -> None:
    """The scratch disk of all hosts is full, and then it is not."""
    before = sum(len(d.stack.read_events(host, "host.no_space")) for host in HOSTS)
    d.stack.set_mode("disk_full", is_on=True)
    jobs = [d.submit() for _ in range(4)]
    d.wait(lambda: sum(len(d.stack.read_events(h, "host.no_space")) for h in HOSTS) > before, "a full disk")
    attempts = d.ask("SELECT count(*) FROM attempt WHERE job_id = ANY(:jobs)", jobs=jobs)[0][0]
    d.stack.set_mode("disk_full", is_on=False)
    waited_s = d.wait_ended(*jobs)
    d.note("R30 host with a full disk took nothing", attempts == 0)
    d.tell("R30", f"jobs ended {waited_s:.0f} s after there was room again")


def r40_bad_model(d: Driver, folder: Path) -> None:
    """A host is started with a model that was changed, and a network answers with NaN."""
    model = folder / "model"
    shutil.copytree(load_bundle().directory, model)
    graph = next(path for path in sorted(model.iterdir()) if path.suffix == ".onnx")
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    was_refused = d.retry(lambda: d.stack.start_once("worker", FAKESIEVE_MODEL=str(model)) == 78) == 1
    d.note("R40 changed model refused with code 78", was_refused)

    d.stack.set_mode("nan", is_on=True)
    jobs = [d.submit() for _ in range(2)]
    d.wait(lambda: d.stack.has_seen("nan"), "a NaN")
    time.sleep(3)
    d.stack.set_mode("nan", is_on=False)
    d.wait_ended(*jobs)
    states = sorted({d.read(job_id).state.value for job_id in jobs})
    d.note("R40 NaN answered by the network", was_met=True)
    stored = (("analysis", "score_raw"), ("face_track", "score"), ("frame_score", "score"))
    wrong = [d.ask(f"SELECT count(*) FROM {table} WHERE {column} = 'NaN'")[0][0] for table, column in stored]
    d.note("R40 no score is NaN", wrong == [0, 0, 0])
    d.tell("R40", f"jobs that met NaN ended as {', '.join(states)}")


def r41_soak(d: Driver, clips: int) -> None:
    """Many clips through the same two hosts; their memory must not grow with them."""
    first = _read_memory(d)
    half: dict[str, int] = {}
    done, counted = 0, 0
    while done < clips:
        d.wait_ended(*[d.submit() for _ in range(20)])
        done += 20
        if not half and done >= clips // 2:
            half, counted = _read_memory(d), done
    last = _read_memory(d)
    grown = {host: (last[host] - half[host]) / 1e6 for host in last if host in half}
    slope = 100 * max(grown.values(), default=0.0) / max(1, done - counted)
    d.tell(
        "R41", f"{done} clips; {slope:.1f} MB for each 100 of the last {done - counted} ({len(first)} hosts)"
    )
    d.note("R41 hosts kept their memory over many clips", bool(grown) and slope < _GROWTH_MB_MAX)


def _read_memory(d: Driver) -> dict[str, int]:
    rows = d.ask("SELECT owner, rss_bytes FROM worker_host WHERE beat_time > now() - interval '10 s'")
    return dict(rows)
