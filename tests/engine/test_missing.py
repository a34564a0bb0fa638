"""Samples that did not come, by cause, in as many entries as a result has room for."""

from hypothesis import given
from hypothesis import strategies as st

from engine.evidence import MissingSample
from engine.missing import group_missing
from engine.results import MISSING_GROUPS, EvidenceReason, RejectReason

details = st.one_of(
    st.integers(0, 30).map("frame {} is damaged".format),
    st.tuples(st.sampled_from(RejectReason), st.integers(0, 3)).map(lambda each: f"{each[0]}: no {each[1]}"),
    st.sampled_from(["", ":", "what: was seen"]),
)
reasons = st.sampled_from([EvidenceReason.NOT_DECODED, EvidenceReason.PARTIAL_DECODE, EvidenceReason.CUT_OFF])
samples = st.builds(MissingSample, st.integers(0, 500), reasons, details)


@given(st.lists(samples, max_size=120))
def test_all_causes_fit_in_and_none_that_broke_a_decode_off_is_hidden(missing: list[MissingSample]) -> None:
    entries = group_missing(missing)
    causes = {(each.reason, each.detail) for each in missing}
    assert len(entries) == min(len(causes), MISSING_GROUPS)
    assert sorted(t for entry in entries for t in entry.pts_us or ()) == sorted(m.pts_us for m in missing)
    counts = [entry.count for entry in entries[: MISSING_GROUPS - 1]]
    assert counts == sorted(counts, reverse=True)
    ended = {each.detail.split(":")[0] for each in missing} & set(RejectReason)
    told = {word for entry in entries for word in entry.detail.split(":")[0].split(", ")}
    assert ended <= told


def test_one_sample_that_a_limit_took_is_told_apart_from_a_hundred_that_damage_took() -> None:
    damaged = [
        MissingSample(place, EvidenceReason.NOT_DECODED, f"frame {place % 20} is damaged")
        for place in range(100)
    ]
    last = MissingSample(100, EvidenceReason.NOT_DECODED, "DECODE_TIMEOUT: no answer for 3 s")
    entries = group_missing([*damaged, last])
    assert [entry.count for entry in entries] == [5, 5, 5, 5, 5, 5, 1, 70]
    assert entries[-2].detail == "DECODE_TIMEOUT: no answer for 3 s"
    assert entries[-1].detail == "14 rarer causes, the first of them: frame 6 is damaged"
