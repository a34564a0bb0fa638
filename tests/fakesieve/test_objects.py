"""References to objects: what they may hold, and their form as text."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.objects import Downloaded, ObjectFacts, VideoRef

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@given(KEYS)
def test_an_address_reads_back_as_the_same_place(key: str) -> None:
    ref = VideoRef("bucket-1", key)
    assert VideoRef.parse_uri(ref.uri) == ref


@pytest.mark.parametrize(
    "uri",
    ["", "clip.mp4", "/tmp/clip.mp4", "http://b/k", "s3:/b/k", "s3://", "s3://b", "s3://b/", "s3:///k"],
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        VideoRef.parse_uri(uri)


@pytest.mark.parametrize("bucket", ["", ".", "..", "a/b", "../x", ".hidden", "ü", "a b", "x" * 256, "a\0"])
def test_a_bucket_has_a_plain_name(bucket: str) -> None:
    with pytest.raises(ValueError, match="bucket"):
        VideoRef(bucket, "k")


@pytest.mark.parametrize("key", ["", "a\0b", "x" * 1025, "ü" * 513, "\ud800"])
def test_a_key_is_what_a_store_can_hold(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        VideoRef("b", key)


@pytest.mark.parametrize(
    "wrong", [{"version_id": ""}, {"etag": ""}, {"etag": '"quoted"'}, {"size_bytes": -1}]
)
def test_what_is_unknown_is_absent(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        VideoRef("b", "k", **wrong)


def test_a_reference_is_pinned_by_version_or_etag_and_loosened_to_its_place() -> None:
    loose = VideoRef("b", "k")
    assert not loose.is_pinned
    assert VideoRef("b", "k", size_bytes=5).is_pinned is False
    for pinned in (VideoRef("b", "k", etag="e"), VideoRef("b", "k", version_id="v", size_bytes=5)):
        assert pinned.is_pinned
        assert pinned.loosen() == loose


def test_facts_are_pinned_and_dated() -> None:
    now = datetime.now(UTC)
    pinned = VideoRef("b", "k", etag="e", size_bytes=5)
    assert ObjectFacts(pinned, now).size_bytes == 5
    with pytest.raises(ValueError, match="ETag and the size"):
        ObjectFacts(VideoRef("b", "k"), now)
    with pytest.raises(ValueError, match="time zone"):
        ObjectFacts(pinned, now.replace(tzinfo=None))


def test_a_download_has_a_hash(tmp_path) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        Downloaded(VideoRef("b", "k"), tmp_path, 5, "abc")
