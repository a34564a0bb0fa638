import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MediaRejected
from engine.results import RejectReason
from tests.engine.made_evidence import make_evidence
from workers.shard_result import ShardResult, ShardResultInvalid, add_timings, find_fault

FAULT = MediaRejected(RejectReason.CORRUPT, "no packet decodes", "convert it")
EVIDENCE = make_evidence({0: [1.0, -2.0, 0.5]})


@given(
    st.dictionaries(st.sampled_from(["decode", "detect", "predict"]), st.integers(0, 10**6)),
    st.floats(0, 1e6),
    st.sampled_from([None, FAULT]),
)
def test_result_comes_back_from_its_bytes(timings_ms, inference_s, fault):
    result = ShardResult(EVIDENCE, timings_ms, inference_s, fault)
    again = ShardResult.from_bytes(result.to_bytes())
    assert again.evidence.to_bytes() == EVIDENCE.to_bytes()
    assert (again.timings_ms, again.inference_s) == (timings_ms, inference_s)
    assert str(again.fault) == str(fault)


@given(st.integers(0, 400), st.binary(max_size=3))
def test_cut_or_altered_bytes_are_refused(place, change):
    data = ShardResult(EVIDENCE, {"decode": 5}, 0.5).to_bytes()
    altered = data[:place] + change + data[place + len(change) + 1 :]
    with pytest.raises(ShardResultInvalid):
        ShardResult.from_bytes(altered)


def test_one_decoded_shard_keeps_a_video_from_failing():
    lost, seen = ShardResult(EVIDENCE, fault=FAULT), ShardResult(EVIDENCE)
    assert find_fault([lost, lost]) is FAULT
    assert find_fault([lost, seen]) is None


def test_timings_of_shards_add_up():
    shards = [ShardResult(EVIDENCE, {"decode": 5, "crop": 1}), ShardResult(EVIDENCE, {"decode": 7})]
    assert add_timings(shards) == {"decode": 12, "crop": 1}
