"""Manifests are right from the first line to the last, or refused with each line's cure."""

import csv
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.errors import RequestRefused, SourceRefused
from fakesieve.ingest.manifest import (
    ManifestKind,
    ManifestRow,
    Part,
    fetch_manifest,
    find_kind,
    parse_manifest,
    read_manifest,
)
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason

CSV, JSONL = ManifestKind.CSV, ManifestKind.JSONL


def seen(text: str | bytes, kind: ManifestKind = CSV) -> str:
    body = text.encode() if isinstance(text, str) else text
    with pytest.raises(RequestRefused) as caught:
        parse_manifest(body, kind, "list")
    assert caught.value.reason is Reason.INVALID_MANIFEST
    assert caught.value.seen.startswith("list: ")
    return caught.value.seen


def test_csv_by_address_or_by_bucket_and_key() -> None:
    by_uri = parse_manifest(b"uri,external_id\ns3://b/a b.mp4,x-1\ns3://b/c,\n", CSV, "list")
    assert [(row.line, row.ref, row.external_id) for row in by_uri.rows] == [
        (2, VideoRef("b", "a b.mp4"), "x-1"),
        (3, VideoRef("b", "c"), None),
    ]
    by_parts = parse_manifest(b'Key,Bucket,etag,version_id\n"a,b.mp4",b,"""e1""",v1\n', CSV, "list")
    assert by_parts.rows[0].ref == VideoRef("b", "a,b.mp4", "v1", "e1")


def test_jsonl_with_empty_lines_and_a_byte_order_mark() -> None:
    body = '\ufeff{"uri": "s3://b/a"}\r\n\r\n{"bucket": "b", "key": "c", "etag": null}\n'.encode()
    rows = parse_manifest(body, JSONL, "list").rows
    assert [(row.line, row.ref.key) for row in rows] == [(1, "a"), (3, "c")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names the columns: uri, or bucket and key"),
        ("name\nx\n", "line 1: the first line names the columns"),
        ("uri,colour\ns3://b/a,red\n", "line 1: unknown column 'colour'"),
        ("uri,uri\ns3://b/a,s3://b/b\n", "line 1: a column stands twice"),
        ("uri\n", "it names no video"),
        ("uri\nclip.mp4\n", "line 2: not an address of an object: 'clip.mp4'"),
        ("uri\ns3://b/a,b.mp4\n", 'line 2: 2 fields under 1 columns; quote commas as "a,b"'),
        ("uri,bucket,key\ns3://b/a,b,a\n", "line 2: has both uri and bucket or key"),
        ("uri,external_id\n,x\n", "line 2: no object; give uri, or bucket and key"),
        ("uri\ns3://b/a\ns3://b/c\ns3://b/a\n", "line 4: names the same object as line 2"),
        ('uri\n"s3://b/a\n', "unexpected end of data; check its quotes"),
        ("uri\ns3://../a\n", "line 2: a bucket's name begins with a letter"),
        ("uri,external_id\ns3://b/a," + "x" * 201 + "\n", "line 2: external_id has 201 characters"),
        (b"uri\ns3://b/a\ns3://b/\xff\n", "line 3: not UTF-8"),
    ],
)
def test_a_bad_line_of_csv_is_named_with_its_cure(text: str | bytes, said: str) -> None:
    assert said in seen(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it names no video"),
        ('{"uri": "s3://b/a"}\nnonsense\n', "line 2: no JSON"),
        ("[1]", 'line 1: not an object; write {"uri": "s3://bucket/key"}'),
        ('{"uri": 7}', "line 1: uri is not a text; put it in quotes"),
        ('{"url": "s3://b/a"}', "line 1: unknown field 'url'; known are uri"),
        ("[" * 100_000, "line 1: no JSON"),
    ],
)
def test_a_bad_line_of_jsonl_is_named_with_its_cure(text: str, said: str) -> None:
    assert said in seen(text, JSONL)


def test_all_bad_lines_are_told_at_once_up_to_ten() -> None:
    text = "uri\n" + "\n".join(["s3://b/ok", *["bad"] * 12]) + "\n"
    told = seen(text)
    assert told.count("not an address") == 10
    assert "line 3:" in told
    assert told.endswith("and 2 more")


@pytest.mark.parametrize(("kind", "line"), [(CSV, b"s3://b/%d\n"), (CSV, b"bad\n"), (JSONL, b"[%d]\n")])
def test_no_more_is_read_of_a_list_that_is_too_long(kind: ManifestKind, line: bytes) -> None:
    head = b"uri\n" if kind is CSV else b""
    body = head + b"".join(line % n if b"%d" in line else line for n in range(40_000))
    tracemalloc.start()
    try:
        with pytest.raises(RequestRefused, match="more than 1000 videos") as caught:
            parse_manifest(body, kind, "list", rows_max=1_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason is Reason.REQUEST_TOO_LARGE
    assert peak < 8 * len(body)


def test_reading_a_part_takes_little_more_memory_than_the_file() -> None:
    # One letter beyond 16 bits makes four bytes of each in a text as a whole.
    rows = b"".join(b"s3://b/%d,\xf0\x9f\x8e\xac\n" % n for n in range(40_000))
    body = b"uri,external_id\n" + rows
    tracemalloc.start()
    try:
        assert parse_manifest(body, CSV, "list", part=Part(39_000, 100)).next_row == 39_100
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body)


def test_a_list_of_just_as_many_rows_is_read() -> None:
    body = b"uri\ns3://b/1\ns3://b/2\n"
    assert len(parse_manifest(body, CSV, "list", rows_max=2).rows) == 2
    with pytest.raises(RequestRefused, match="more than 1 videos"):
        parse_manifest(body, CSV, "list", rows_max=1)


@given(
    rows=st.integers(min_value=1, max_value=40),
    count=st.integers(min_value=1, max_value=15),
    kind=st.sampled_from(ManifestKind),
)
def test_the_parts_of_a_list_are_the_list(rows: int, count: int, kind: ManifestKind) -> None:
    lines = [f"s3://b/{n}" if kind is CSV else f'{{"uri": "s3://b/{n}"}}' for n in range(rows)]
    body = "\n".join([*(["uri"] if kind is CSV else []), *lines]).encode()
    found, first = list[ManifestRow](), 1
    while first is not None:
        part = parse_manifest(body, kind, "list", part=Part(first, count))
        assert 1 <= len(part.rows) <= count
        found += part.rows
        first = part.next_row
    assert tuple(found) == parse_manifest(body, kind, "list").rows


def test_a_part_behind_the_end_and_a_bad_line_of_a_part_are_told() -> None:
    body = b"uri\ns3://b/1\ns3://b/2\nbad\n"
    assert parse_manifest(body, CSV, "list", part=Part(1, 2)).next_row == 3
    with pytest.raises(RequestRefused, match=r"line 4: .*not an address"):
        parse_manifest(body, CSV, "list", part=Part(3, 2))
    with pytest.raises(RequestRefused, match="it has no row 9"):
        parse_manifest(body, CSV, "list", part=Part(9, 2))
    with pytest.raises(RequestRefused, match="the first line names the columns"):
        parse_manifest(b"s3://b/1\ns3://b/2\n", CSV, "list", part=Part(2, 2))
    with pytest.raises(ValueError, match="begins at row 1"):
        Part(0, 1)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.csv", CSV), ("A.CSV", CSV), ("x/y.jsonl", JSONL), ("z.ndjson", JSONL)]
)
def test_the_extension_says_the_kind(name: str, kind: ManifestKind) -> None:
    assert find_kind(name) is kind


def test_other_files_are_no_manifests() -> None:
    with pytest.raises(RequestRefused, match=r"a \.csv or a \.jsonl file"):
        find_kind("clips.xlsx")


def test_a_manifest_from_a_file_and_from_a_store_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("uri\ns3://b/a\n")
    store = FolderObjects(tmp_path / "objects")
    store.make_bucket("lists")
    store.upload(path, "lists", "today/list.csv")
    fetched = fetch_manifest(store, VideoRef("lists", "today/list.csv"))
    assert fetched == read_manifest(path)
    assert len(fetched.sha256) == 64
    with pytest.raises(SourceRefused, match="SOURCE_TOO_LARGE"):
        fetch_manifest(store, VideoRef("lists", "today/list.csv"), bytes_max=10)


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestRefused, match=r"list.csv: cannot be read"):
        read_manifest(tmp_path / "list.csv")
    store = FolderObjects(tmp_path)
    store.make_bucket("lists")
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        fetch_manifest(store, VideoRef("lists", "list.csv"))


def test_rows_keep_the_order_of_the_lines() -> None:
    found = parse_manifest(b"uri,external_id\ns3://b/z,1\ns3://b/a,2\n", CSV, "list")
    assert [(row.ref.key, row.external_id) for row in found.rows] == [("z", "1"), ("a", "2")]


KEYS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=30)
    .map(str.strip)
    .filter(bool),
    min_size=1,
    max_size=6,
    unique=True,
)


@given(KEYS)
def test_any_keys_survive_both_kinds(keys: list[str]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["bucket", "key"], *[["b", key] for key in keys]])
    lines = "\n".join(json.dumps({"uri": f"s3://b/{key}"}, ensure_ascii=False) for key in keys)
    for body, kind in ((text.getvalue(), CSV), (lines, JSONL)):
        assert [row.ref.key for row in parse_manifest(body.encode(), kind, "list").rows] == keys


@given(st.binary(max_size=200), st.sampled_from(ManifestKind))
def test_any_bytes_give_rows_or_a_refusal(body: bytes, kind: ManifestKind) -> None:
    try:
        found = parse_manifest(body, kind, "list")
    except RequestRefused:
        return
    assert found.rows
