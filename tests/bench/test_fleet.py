"""The clips, the notes of a host and the page of the fleet's benchmark."""

import json
import os
from pathlib import Path

import av
import pytest

from bench.fleet.clips import make_short_clips
from bench.fleet.costs import Costs, Message, Piece, read_costs
from bench.fleet.host import Notes, NotingStore
from bench.fleet.processes import Peaks, memory_by_part, tree_cpu_s
from bench.fleet.report import Run, format_page, summarise
from bench.fleet.rounds import FleetRound, ScanRound
from bench.report import read_goals
from fakesieve.database import Database
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.rows import Claim, Refusal, ShardKey
from tests.job_stores import make_sql_case
from tests.workers.conftest import draw_face


def test_short_clips_differ_in_their_bytes_and_are_drawn_once(tmp_path: Path) -> None:
    first, second = make_short_clips(2, tmp_path)
    assert first.read_bytes() != second.read_bytes()
    with av.open(str(first)) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 13
    before = first.stat().st_mtime_ns
    assert make_short_clips(2, tmp_path) == [first, second]
    assert make_short_clips(1, tmp_path, frame_every=2) != [first]
    assert first.stat().st_mtime_ns == before


def test_a_noting_store_answers_like_the_store_and_names_the_caller(module_database: Database) -> None:
    case, notes = make_sql_case(module_database), Notes()
    store = NotingStore(case.store, notes)
    key = ShardKey(case.submit(), 0)
    assert isinstance(claim_shard(store, key, "host-1", 60), Claim)
    assert claim_shard(store, key, "host-2", 60) is Refusal.HELD
    first, second = notes.events
    assert (first["what"], first["kind"], first["job"]) == ("claim_shard", "prepare", key.job_id)
    assert (second["what"], second["refusal"]) == ("claim_shard", "held")
    assert first["begun"] < first["ended"] <= second["begun"]


def test_notes_are_read_back_as_they_were(tmp_path: Path) -> None:
    notes = Notes()
    notes.add("begun", at=1.0, message="a")
    notes.add("done", at=2.0, message="a")
    notes.write(tmp_path / "notes.jsonl")
    events = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text().splitlines()]
    assert read_costs(events, 0, 10).messages == (Message(1.0, 1.0, 2.0),)


def make_costs() -> Costs:
    pieces = (
        Piece("prepare", 0.0, 0.1, 3.0, {"fan_out": 5.0}),
        Piece("screen", 0.1, 1.1, 2.0, {"finish_shard": 4.0}),
        Piece("score", 1.1, 1.2, 2.0, {"load_evidence": 1.0, "finish_job": 9.0}),
    )
    return Costs(pieces, (Message(0.0, 0.0, 1.2),), (26.0,), (8.0,), (), (2.0,), (4, 8), (1.0, 3.0))


def make_run() -> Run:
    fleet = FleetRound(4, 4, 10.0, 12.0, 0.02, {"worker": 2.0, "postgres": 0.4})
    return Run({"cores": 2}, "", 2, 6, [fleet] * 2, [ScanRound(4, 3.0, 1.5, 3.0)] * 2, [make_costs()] * 2, {})


def test_a_run_is_summed_up_with_its_goals() -> None:
    run = make_run()
    figures = {figure.name: figure for figure in summarise(run)}
    assert figures["throughput of the fleet over scan"].median == pytest.approx(2.0 / 2.0)
    assert figures["throughput of the fleet over scan, with its start"].median == pytest.approx(1.5)
    assert figures["queue overhead of a screen shard, p50"].median == 6.0
    assert figures["queue overhead of a screen shard, share of its time"].median == pytest.approx(0.6)
    assert figures["processor time per clip: whole fleet"].median == pytest.approx(0.6)
    assert figures["queue overhead of a job of one shard, p50"].median == 26.0
    assert figures["score: finish_job, p99"].median == 9.0
    assert "screen: finish_only_shard, p99" not in figures
    page = format_page(run, list(figures.values()))
    assert "<= 5: missed" in page
    assert "<= 2: reached" in page
    assert ">= 0.95: reached" in page


def test_every_goal_of_the_fleet_names_a_figure() -> None:
    names = {figure.name for figure in summarise(make_run())}
    assert {name for name in read_goals() if "fleet" in name or "queue" in name} <= names


def test_processor_time_and_memory_of_this_process_are_seen(tmp_path: Path) -> None:

    before = tree_cpu_s(os.getpid())
    draw_face(tmp_path / "work.mp4", seed=1)
    assert tree_cpu_s(os.getpid()) > before > 0
    assert memory_by_part(os.getpid())["host"] > 1 << 20
    peaks = Peaks()
    with peaks.watch_tree("tests", os.getpid()):
        pass
    assert peaks.bytes["tests"] > 1 << 20
