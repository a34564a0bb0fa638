"""A receipt waits for the worker hosts, which may hold copies of the video in their scratch folders."""

from pathlib import Path

from fakesieve.erasure.erase import load_erasure
from fakesieve.erasure.hosts import confirm_lettings, list_lettings
from fakesieve.objects import VideoRef
from fakesieve.values.erasure import ErasureState
from tests.fakesieve.erasure.conftest import BUCKET, Case
from workers.erase import Eraser
from workers.let_go import let_go
from workers.scratch import Scratch

HOST = "INSERT INTO worker_host (owner, name, version, slots) VALUES (:owner, 'host', '1', 1)"


def test_the_receipt_waits_for_worker_hosts_to_let_go(case: Case, tmp_path: Path) -> None:
    case.run(HOST, owner="hst_a")
    with Scratch(tmp_path / "scratch", case.objects, free_bytes_min=0) as scratch:
        with scratch.hold(VideoRef(BUCKET, case.key)):
            begun = case.begin()
            assert case.erase(begun).state is ErasureState.RUNNING
            assert let_go(case.database, "hst_a", scratch) == 0  # somebody works with it
        assert [p for p in tmp_path.rglob("*") if p.is_file() and p.read_bytes() == case.content]
        assert let_go(case.database, "hst_a", scratch) == 1
        assert not [p for p in (tmp_path / "scratch").rglob("*") if p.is_file() and p.stat().st_size > 100]
    receipt = case.erase(begun)
    assert (receipt.state, receipt.stores["scratch"]) == (
        ErasureState.COMPLETED,
        {"state": "cleared", "hosts": 1},
    )
    case.run("DELETE FROM worker_host")


def test_the_receipt_is_completed_in_the_turn_after_the_last_host_let_go(case: Case, tmp_path: Path) -> None:
    for owner in ("hst_a", "hst_b"):
        case.run(HOST, owner=owner)
    tenant_id, erasure_id = case.begin()
    assert case.erase((tenant_id, erasure_id)).state is ErasureState.RUNNING
    states: list[ErasureState] = []
    with Scratch(tmp_path / "scratch", case.objects, free_bytes_min=0) as scratch:
        for owner in ("hst_a", "hst_b"):
            assert let_go(case.database, owner, scratch) == 1
            Eraser(case.database, case.objects, BUCKET).take_turn()
            with case.database.transaction(tenant_id=tenant_id) as session:
                states.append(load_erasure(session, erasure_id).state)
    assert states == [ErasureState.RUNNING, ErasureState.COMPLETED]
    case.run("DELETE FROM worker_host")


def test_a_host_that_died_is_not_waited_for(case: Case) -> None:
    case.run(HOST, owner="hst_b")
    begun = case.begin()
    with case.database.transaction(tenant_id=None) as session:
        assert [letting.erasure_id for letting in list_lettings(session, "hst_b")] == [begun[1]]
        confirm_lettings(session, "hst_other", [begun[1]])
    case.run("DELETE FROM worker_host")
    assert case.erase(begun).state is ErasureState.COMPLETED
